// Command release-rollback is a ShivX recovery plugin that rolls a service back to the release
// before the current one, by switching a symbolic link.
//
// It expects the layout that many deployment tools make: a folder with one folder per release,
// whose names sort by age, and a link "current" to one of them.
//
//	ladder:
//	  - name: roll back
//	    use: release-rollback
//	    with:
//	      releases: /srv/app/releases
//	      current: /srv/app/current
package main

import "github.com/shivx/shivx/plugins/sdk"

func main() { sdk.Serve(Rollback{}) }
