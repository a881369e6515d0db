package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/passes"
)

// Categories of verbs, as help lists them.
const (
	catMake    = "Make models smaller and faster"
	catLook    = "Look at models"
	catMeasure = "Run and measure"
	catAbout   = "About onnxpack"
)

func newApp(stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:  "onnxpack",
		Usage: "make ONNX models small and fast for the CPUs they ship to, and measure it",
		Description: `A model goes in, a smaller and faster one comes out, with a table of what was
measured before and after:

   onnxpack optimize model.onnx --data images:photos --target amd64-avx2 -o out.onnx

Data is given as kind:path?key=value&…; see "onnxpack data".`,
		Commands:               commands(),
		Writer:                 stdout,
		ErrWriter:              stderr,
		HideVersion:            true,
		UseShortOptionHandling: false,
		ExitErrHandler:         func(*cli.Context, error) {}, // run decides the exit code
		OnUsageError:           func(_ *cli.Context, err error, _ bool) error { return err },
		CommandNotFound:        func(*cli.Context, string) {},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return fmt.Errorf("there is no command %q", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
}

// commands lists the verbs in the order of help.
func commands() []*cli.Command {
	all := []*cli.Command{
		optimizeCommand(),
		distillCommand(),
		tuneCommand(),
		pruneCommand(),
		copyCommand(),
		inspectCommand(),
		checkCommand(),
		diffCommand(),
		runCommand(),
		evalCommand(),
		benchCommand(),
		conformanceCommand(),
		passesCommand(),
		opsCommand(),
		targetsCommand(),
		dataCommand(),
		completionCommand(),
		manCommand(),
		versionCommand(),
		serverCommand(),
	}
	for _, c := range all {
		c.Flags = append(c.Flags, commonFlags(c)...)
		c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return err }
		c.HideHelpCommand = true
	}
	return all
}

// commonFlags are those that every verb takes, except where it has its own
// form of one.
func commonFlags(c *cli.Command) []cli.Flag {
	own := func(f cli.Flag) bool {
		return slices.ContainsFunc(c.Flags, func(g cli.Flag) bool { return g.Names()[0] == f.Names()[0] })
	}
	return slices.DeleteFunc([]cli.Flag{
		&cli.StringFlag{Name: "json", Usage: "write the report as JSON to `FILE`; - is standard output, which then holds nothing else", Category: "Common"},
		&cli.IntFlag{Name: "threads", Usage: "run on `N` threads (default: the CPUs that this process may use)", Category: "Common"},
		&cli.Uint64Flag{Name: "seed", Usage: "start random choices from `N`", Value: 1, Category: "Common"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print errors only", Category: "Common"},
	}, own)
}

// threads returns how many threads a verb may use.
func threads(c *cli.Context) (int, error) {
	n := c.Int("threads")
	if n < 0 {
		return 0, fmt.Errorf("--threads is %d, want a number from 1", n)
	}
	if n == 0 {
		n = runtime.GOMAXPROCS(0)
	}
	return n, nil
}

// operands returns the verb's positional arguments, which must be as many as
// names.
func operands(c *cli.Context, names ...string) ([]string, error) {
	args := c.Args().Slice()
	switch {
	case len(args) < len(names):
		return nil, fmt.Errorf("%s: %s is missing", c.Command.Name, names[len(args)])
	case len(args) > len(names):
		return nil, fmt.Errorf("%s: unexpected argument %q after %s", c.Command.Name, args[len(names)], strings.Join(names, " "))
	}
	return args, nil
}

// permute moves flags in front of positional arguments, where cli v2 expects
// them. What follows "--" stays.
func permute(app *cli.App, args []string) []string {
	if len(args) < 2 {
		return args
	}
	var cmd *cli.Command
	for _, c := range app.Commands {
		if c.HasName(args[1]) {
			cmd = c
		}
	}
	if cmd == nil {
		return args
	}
	flags, rest := args[:2:2], []string(nil)
	for i := 2; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			return append(append(append(flags, "--"), rest...), args[i+1:]...)
		case len(a) < 2 || a[0] != '-':
			rest = append(rest, a)
		default:
			flags = append(flags, a)
			if takesValue(cmd, a) && i+1 < len(args) {
				i++
				flags = append(flags, args[i])
			}
		}
	}
	if len(rest) > 0 {
		flags = append(flags, "--")
	}
	return append(flags, rest...)
}

// takesValue reports whether the argument after flag a is its value.
func takesValue(cmd *cli.Command, a string) bool {
	name := strings.TrimLeft(a, "-")
	if strings.Contains(name, "=") {
		return false
	}
	for _, f := range cmd.Flags {
		for _, n := range f.Names() {
			if n == name {
				_, isBool := f.(*cli.BoolFlag)
				return !isBool
			}
		}
	}
	return false
}

// hint returns what might help with err, "" if nothing comes to mind.
func hint(app *cli.App, args []string, err error) string {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: "); ok {
		return hintFlag(app, args, strings.TrimLeft(name, "-"))
	}
	if len(args) > 1 && strings.HasPrefix(text, "there is no command") {
		var known []string
		for _, c := range app.Commands {
			known = append(known, c.Name)
		}
		if near := passes.Nearest(args[1], known); near != "" {
			return fmt.Sprintf("did you mean %q? onnxpack --help lists all", near)
		}
		return "onnxpack --help lists the commands"
	}
	var h hinter
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// hinter is an error that knows what to do about it.
type hinter interface{ Hint() string }

func hintFlag(app *cli.App, args []string, name string) string {
	for _, c := range app.Commands {
		if len(args) < 2 || !c.HasName(args[1]) {
			continue
		}
		var known []string
		for _, f := range c.Flags {
			known = append(known, f.Names()...)
		}
		if near := passes.Nearest(name, known); near != "" {
			return fmt.Sprintf("did you mean --%s? onnxpack %s --help lists all", near, c.Name)
		}
		return fmt.Sprintf("onnxpack %s --help lists the flags", c.Name)
	}
	return ""
}
