package logs

// newApacheAccess reads the access log of Apache: common, combined and vhost_combined.
func newApacheAccess(o Options) (Parser, error) {
	return &accessParser{
		clock: newClock(o), aggressive: o.Mode == modeAggressive,
		rules: accessRules{
			request: "apache/request", failure: "apache/unauthorized",
			malformed: "apache/bad-request", closed: "apache/closed-by-rule",
		},
	}, nil
}
