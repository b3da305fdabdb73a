package main

import (
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) loginCommand() *cobra.Command {
	return &cobra.Command{
		Use: "login", Short: "Make a link that signs a browser in to the status page, once",
		Long: `Make a link to the agent's status page that signs one browser in, once and within ten minutes. The
browser may then do what the token may with which the link was made: that of the agent's var
folder, or $SHIVX_TOKEN.`,
		Args: cobra.NoArgs,
		RunE: a.does(func(cmd *cobra.Command, _ []string) error {
			agent, err := a.agent()
			if err != nil {
				return err
			}
			var link struct {
				URL     string    `json:"url"`
				Expires time.Time `json:"expires_at"`
			}
			if err := agent.send(cmd.Context(), http.MethodPost, "/api/login-links", nil, &link); err != nil {
				return err
			}
			if a.json() {
				return a.document(link)
			}
			a.out.line(normal, link.URL)
			a.err.line(faint, "open it in a browser before "+moment(link.Expires)+"; it works once")
			return nil
		}),
	}
}
