package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/shivx/shivx"
	"github.com/shivx/shivx/internal/config"
	"github.com/shivx/shivx/internal/ledger"
)

func (a *app) ledgerCommand() *cobra.Command {
	c := group("ledger", "Verify and read the ledgers",
		a.ledgerVerifyCommand(), a.ledgerShowCommand(), a.ledgerTailCommand())
	c.Long = `Verify and read the ledgers of this host. Temporal is not needed.

  recovery    recovery/operational_ledger.ndjson: findings, steps and recoveries
  resilience  resilience/resilience_audit.ndjson: health, levels, overrides, restarts, shed load
  guardian    security/guardian_audit.ndjson: threats, isolations, defense modes, watched files

They are in the folder of --var, else in that of the configuration, else in ./var.`
	return c
}

// ledgerFiles maps the names of the ledgers to their paths in the var folder.
var ledgerFiles = map[string]string{"recovery": config.OperationalLedger, "resilience": config.ResilienceAudit, "guardian": config.GuardianAudit}

// ledgerPlace is where a ledger is and whose it is.
type ledgerPlace struct {
	varDir string
	path   string
	host   string
	// name is a key of ledgerFiles.
	name string
}

func (a *app) addVar(c *cobra.Command, p *ledgerPlace) {
	c.Flags().StringVar(&p.varDir, "var", "", "folder in which the agent keeps its files")
	c.Flags().StringVar(&p.name, "ledger", p.name, "which of the agent's ledgers: recovery, resilience or guardian")
	_ = c.RegisterFlagCompletionFunc("ledger", cobra.FixedCompletions(ledgerNames(), cobra.ShellCompDirectiveNoFileComp))
}

func ledgerNames() []string { return slices.Sorted(maps.Keys(ledgerFiles)) }

// locate completes the place from the command's arguments and the configuration.
func (a *app) locate(p *ledgerPlace, args []string) error {
	if len(args) == 1 {
		p.path = args[0]
		return nil
	}
	if ledgerFiles[p.name] == "" {
		return hint(usagef("--ledger %s is not known", p.name), "write one of "+strings.Join(ledgerNames(), ", "))
	}
	dir, host, err := a.varFolder(p.varDir)
	if err != nil {
		return err
	}
	p.path = filepath.Join(dir, ledgerFiles[p.name])
	if p.host == "" {
		p.host = host
	}
	if p.host == "" {
		// The records of findings name their host; all ledgers are of the same.
		p.host = hostOf(filepath.Join(dir, config.OperationalLedger))
	}
	return nil
}

// verifyFlags are the flags of a verification.
type verifyFlags struct {
	ledgerPlace
	noWitness bool
	copied    bool
	trusted   []string
}

func (a *app) ledgerVerifyCommand() *cobra.Command {
	var o verifyFlags
	c := &cobra.Command{
		Use: "verify [PATH]", Short: "Prove that the ledgers are as they were written",
		Long: `Check every record, the chain of hashes and the signed heads, and compare them with the heads that
the witness in Temporal keeps, if Temporal answers. Exit code 0: nothing was found; 4: a ledger
was tampered with. A last line that a crash has torn is no tampering.

Without PATH and --ledger all ledgers of the host are verified, and one that is gone although the
witness knows it was tampered with. With --output json there is one document for each.`,
		Args: cobra.MaximumNArgs(1),
	}
	c.RunE = a.does(func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && o.name == "" {
			return a.verifyAll(cmd.Context(), o)
		}
		if err := a.locate(&o.ledgerPlace, args); err != nil {
			return err
		}
		return a.verifyLedger(cmd.Context(), o)
	})
	a.addVar(c, &o.ledgerPlace)
	fl := c.Flags()
	fl.StringVar(&o.host, "host", "", "the host whose ledger it is, for the witness; else as in the configuration or the records")
	fl.BoolVar(&o.noWitness, "no-witness", false, "do not ask the witness in Temporal")
	fl.BoolVar(&o.copied, "copy", false, "the files are a copy, without the signing key")
	fl.StringArrayVar(&o.trusted, "trust", nil, "genesis key, in base64, from which signatures may start")
	return c
}

// witnessed says with what a ledger was compared outside its host.
type witnessed struct {
	Compared bool   `json:"compared"`
	Host     string `json:"host,omitempty"`
	Heads    int    `json:"heads"`
	// Reason says why it was not compared.
	Reason string `json:"reason,omitempty"`
}

// verifyReport is the JSON document of a verification.
type verifyReport struct {
	ledger.Report
	Witness witnessed `json:"witness"`
}

func (a *app) verifyLedger(ctx context.Context, o verifyFlags) error {
	heads, w := a.witness(ctx, o)
	options := ledger.VerifyOptions{Witness: heads, Trusted: o.trusted, Copy: o.copied}
	var done, total atomic.Int64
	options.Progress = func(read, all int64) { done.Store(read); total.Store(all) }
	shown := newProgress(&a.err, func() string {
		if total.Load() == 0 {
			return ""
		}
		return "verifying " + bar(done.Load(), total.Load())
	})
	rep, err := ledger.Verify(ctx, o.path, options)
	shown.end()
	if err != nil {
		return ledgerError(err)
	}
	if a.json() {
		if err := a.document(verifyReport{rep, w}); err != nil {
			return err
		}
	} else {
		a.printReport(rep, w)
	}
	if !rep.OK {
		return quiet(exitTampered)
	}
	return nil
}

// verifyAll verifies every ledger of the host; one that is not there counts when its witness knows it.
func (a *app) verifyAll(ctx context.Context, o verifyFlags) error {
	var absent error
	found, tampered := false, false
	for _, name := range ledgerNames() {
		one := o
		one.name = name
		if err := a.locate(&one.ledgerPlace, nil); err != nil {
			return err
		}
		if _, err := os.Stat(one.path); errors.Is(err, fs.ErrNotExist) {
			if heads, w := a.witness(ctx, one); len(heads) > 0 {
				tampered = true
				a.err.line(red, fmt.Sprintf("%s: TAMPERED WITH: it is gone, and the witness of %s has %s of it", one.path, w.Host, count(len(heads), "head")))
			}
			absent = errors.Join(absent, err)
			continue
		}
		found = true
		err := a.verifyLedger(ctx, one)
		if code, ok := errors.AsType[*codeError](err); ok && code.code == exitTampered {
			tampered = true
		} else if err != nil {
			return err
		}
	}
	switch {
	case tampered:
		return quiet(exitTampered)
	case !found:
		return ledgerError(absent)
	}
	return nil
}

func ledgerError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return hint(err, "give the ledger's path, or --var DIR or --config FILE of its agent")
	}
	return err
}

func (a *app) printReport(rep ledger.Report, w witnessed) {
	head, st := fmt.Sprintf("%s: as it was written", rep.Ledger), green
	if !rep.OK {
		head, st = fmt.Sprintf("%s: TAMPERED WITH, %s", rep.Ledger, count(len(rep.Findings)+rep.More, "finding")), red
	}
	a.out.line(st, head)
	torn := ""
	if t := rep.Torn; t != nil {
		torn = fmt.Sprintf("%s line %d: %d bytes of a record that was never finished, by a crash or a write under way; no tampering",
			t.Segment, t.Line, t.Bytes)
	}
	signed := "nothing yet"
	if rep.Signed > 0 {
		signed = fmt.Sprintf("up to record %d by %s", rep.Signed, count(rep.Heads, "head"))
	}
	if rep.Open > 0 {
		signed += fmt.Sprintf("; %s not signed yet", count(int(rep.Open), "record"))
	}
	outside := fmt.Sprintf("compared with %s of %s", count(w.Heads, "head"), w.Host)
	if !w.Compared {
		outside = "NOT COMPARED: " + w.Reason
	}
	a.out.details([][2]string{
		{"records", fmt.Sprintf("%d in %s, %s", rep.Records, count(rep.Segments, "file"), bytesText(rep.Bytes))},
		{"signed", signed}, {"witness", outside}, {"torn tail", torn},
		{"took", took(rep.Elapsed)},
	}...)
	for _, f := range rep.Findings {
		place := f.Segment
		if f.Line > 0 {
			place += fmt.Sprintf(":%d", f.Line)
		}
		a.out.line(red, fmt.Sprintf("%s: %s: %s", place, f.Kind, f.Message))
		if f.Hint != "" {
			a.out.line(faint, "    "+f.Hint)
		}
	}
	if rep.More > 0 {
		a.out.line(red, fmt.Sprintf("and %s more", count(rep.More, "finding")))
	}
}

// witness asks Temporal for the heads of the ledger that were kept outside its host.
func (a *app) witness(ctx context.Context, o verifyFlags) ([]ledger.Head, witnessed) {
	if o.noWitness {
		return nil, witnessed{Reason: "--no-witness was given"}
	}
	w := witnessed{Host: o.host}
	if w.Host == "" {
		if w.Host = hostOf(o.path); w.Host == "" {
			w.Reason = "the ledger's host is not known; give --host"
			return nil, w
		}
	}
	all, err := a.witnessOf(ctx, w.Host)
	if err != nil {
		w.Reason = err.Error()
		return nil, w
	}
	file := filepath.Base(o.path)
	name := strings.TrimSuffix(file, filepath.Ext(file))
	var heads []ledger.Head
	for _, h := range all {
		if h.Ledger == name {
			heads = append(heads, ledger.Head{Ledger: h.Ledger, Genesis: h.Genesis, Epoch: h.Epoch, Seq: h.Seq,
				Hash: h.Hash, Time: h.Time, Key: h.Key, Next: h.Next, Sig: h.Sig})
		}
	}
	w.Heads = len(heads)
	if w.Compared = len(heads) > 0; !w.Compared {
		w.Reason = fmt.Sprintf("the witness of %s has no head of the ledger %s", w.Host, name)
	}
	return heads, w
}

// kept is what the witness of a host said.
type kept struct {
	heads []shivx.LedgerHead
	err   error
}

// witnessOf asks the witness of a host for the heads of all its ledgers, once in a call.
func (a *app) witnessOf(ctx context.Context, host string) ([]shivx.LedgerHead, error) {
	k, asked := a.witnesses[host]
	if !asked {
		k.heads, k.err = a.askWitness(ctx, host)
		a.witnesses = map[string]kept{host: k}
	}
	return k.heads, k.err
}

func (a *app) askWitness(ctx context.Context, host string) ([]shivx.LedgerHead, error) {
	f, err := a.connect(ctx, dialPatience)
	if err != nil {
		return nil, err
	}
	defer f.client.Close()
	return query[[]shivx.LedgerHead](ctx, f, shivx.WitnessID(host), "", shivx.QueryHeads)
}

// hostOf is the host that the latest records name.
func hostOf(path string) string {
	records, err := ledger.Tail(path, 100)
	if err != nil {
		return "" // that the ledger cannot be read is for the verification to say
	}
	host := ""
	for _, r := range records {
		var rec shivx.RecoveryRecord
		if r.Decode(&rec) == nil && safeName.MatchString(rec.Host) {
			host = rec.Host
		}
	}
	return host
}
