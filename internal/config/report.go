package config

// report collects problems of one file.
type report struct {
	file     string
	problems *[]Problem
	// broken nodes have been reported already; they are not looked at again.
	broken map[*node]bool
}

func newReport(file string) report {
	return report{file: file, problems: new([]Problem), broken: map[*node]bool{}}
}

// add reports a problem at the place of n; nil stands for the whole file.
func (r report) add(n *node, message, hint string) { r.put(n, message, hint, 0) }

// addKey is add for a key: what follows it in its line may be a secret and is not shown.
func (r report) addKey(n *node, message, hint string) { r.put(n, message, hint, n.end) }

// addSecret is add for a value that is not shown.
func (r report) addSecret(n *node, message, hint string) { r.put(n, message, hint, n.col) }

func (r report) put(n *node, message, hint string, cut int) {
	p := Problem{Message: message, Hint: hint, cut: cut}
	if n != nil {
		p.Line, p.Column = n.line, n.col
	}
	r.addProblem(p)
}

func (r report) addProblem(p Problem) {
	p.File = r.file
	*r.problems = append(*r.problems, p)
}
