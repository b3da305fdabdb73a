package config

// Component returns the component of that name.
func (c *Config) Component(name string) (Component, bool) {
	for _, component := range c.Components {
		if component.Name == name {
			return component, true
		}
	}
	return Component{}, false
}

// Order returns the names of all components, dependencies first, else in the order of the file.
func (c *Config) Order() []string {
	w := newWalk(c)
	for i := range c.Components {
		w.visit(i)
	}
	return w.order
}

// cycle is a way from a component through its dependencies back to itself.
type cycle struct {
	// path begins and ends with the same name.
	path []string
	// closing points to the dependency that closes the circle.
	closing *string
}

// cycles returns the dependency cycles, at least one of each knot.
func (c *Config) cycles() []cycle {
	w := newWalk(c)
	for i := range c.Components {
		w.visit(i)
	}
	return w.cycles
}

// walk is a depth-first search over dependencies.
type walk struct {
	cfg    *Config
	index  map[string]int
	state  []int // 0 new, 1 on the path, 2 done
	path   []string
	order  []string
	cycles []cycle
}

func newWalk(c *Config) *walk {
	w := &walk{cfg: c, index: map[string]int{}, state: make([]int, len(c.Components))}
	for i, component := range c.Components {
		if _, dup := w.index[component.Name]; !dup {
			w.index[component.Name] = i
		}
	}
	return w
}

func (w *walk) visit(i int) {
	component := &w.cfg.Components[i]
	if w.state[i] != 0 || component.Name == "" || w.index[component.Name] != i {
		return
	}
	w.state[i] = 1
	w.path = append(w.path, component.Name)
	for k := range component.DependsOn {
		name := component.DependsOn[k]
		next, known := w.index[name]
		switch {
		case !known || name == "":
		case w.state[next] == 1:
			w.cycles = append(w.cycles, cycle{w.pathFrom(name), &component.DependsOn[k]})
		default:
			w.visit(next)
		}
	}
	w.path = w.path[:len(w.path)-1]
	w.state[i] = 2
	w.order = append(w.order, component.Name)
}

// pathFrom returns the path from name to its end and back to name.
func (w *walk) pathFrom(name string) []string {
	for i, n := range w.path {
		if n == name {
			return append(append([]string{}, w.path[i:]...), name)
		}
	}
	return nil
}
