package logs

// newNginxAccess reads the access log of nginx: common, combined, or a format that begins like them,
// with or without the virtual host first.
func newNginxAccess(o Options) (Parser, error) {
	return &accessParser{
		clock: newClock(o), aggressive: o.Mode == modeAggressive,
		rules: accessRules{
			request: "nginx/request", failure: "nginx/unauthorized",
			malformed: "nginx/bad-request", closed: "nginx/closed-by-rule",
		},
	}, nil
}
