package resilience

// Restarts returns how often a module was recovered since the audit began.
func (c *Core) Restarts(module string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Restarts[module]
}
