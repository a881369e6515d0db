package main

import (
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/urfave/cli/v2"
)

// The scripts are made by walking the commands: cli v2's own completion
// panics on flag names.

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a completion script for bash, zsh or fish",
		ArgsUsage: "SHELL",
		Category:  catAbout,
		Description: `   source <(onnxpack completion bash)
   onnxpack completion zsh > "${fpath[1]}/_onnxpack"
   onnxpack completion fish > ~/.config/fish/completions/onnxpack.fish`,
		Action: func(c *cli.Context) error {
			args, err := operands(c, "SHELL")
			if err != nil {
				return err
			}
			shells := map[string]func(io.Writer, *cli.App){"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
			write, ok := shells[args[0]]
			if !ok {
				return fmt.Errorf("there is no completion for %q, want bash, zsh or fish", args[0])
			}
			write(c.App.Writer, c.App)
			return nil
		},
	}
}

func visible(app *cli.App) []*cli.Command {
	var cmds []*cli.Command
	for _, c := range app.Commands {
		if !c.Hidden && c.Name != "help" {
			cmds = append(cmds, c)
		}
	}
	return cmds
}

// flagNames returns the flags of a verb as they are typed, sorted.
func flagNames(c *cli.Command) []string {
	var names []string
	for _, f := range c.Flags {
		for _, n := range f.Names() {
			if len(n) > 1 {
				names = append(names, "--"+n)
			}
		}
	}
	sort.Strings(names)
	return names
}

func bashCompletion(w io.Writer, app *cli.App) {
	var names []string
	fmt.Fprint(w, "_onnxpack() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} words\n\tcase ${COMP_WORDS[1]} in\n")
	for _, c := range visible(app) {
		names = append(names, c.Name)
		fmt.Fprintf(w, "\t%s) words=%q ;;\n", c.Name, strings.Join(flagNames(c), " "))
	}
	fmt.Fprintf(w, "\tesac\n\t[ \"$COMP_CWORD\" = 1 ] && words=%q\n", strings.Join(names, " "))
	fmt.Fprint(w, "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F _onnxpack onnxpack\n")
}

func zshCompletion(w io.Writer, app *cli.App) {
	fmt.Fprint(w, "#compdef onnxpack\nif (( CURRENT == 2 )); then\n\tlocal -a verbs=(\n")
	for _, c := range visible(app) {
		fmt.Fprintf(w, "\t\t'%s:%s'\n", c.Name, quoteSingle(c.Usage))
	}
	fmt.Fprint(w, "\t)\n\t_describe verb verbs\n\treturn\nfi\ncase $words[2] in\n")
	for _, c := range visible(app) {
		fmt.Fprintf(w, "%s) compadd -- %s ;;\n", c.Name, strings.Join(flagNames(c), " "))
	}
	fmt.Fprint(w, "esac\n_files\n")
}

func fishCompletion(w io.Writer, app *cli.App) {
	for _, c := range visible(app) {
		fmt.Fprintf(w, "complete -c onnxpack -n __fish_use_subcommand -a %s -d '%s'\n", c.Name, quoteSingle(c.Usage))
		for _, f := range flagNames(c) {
			fmt.Fprintf(w, "complete -c onnxpack -n '__fish_seen_subcommand_from %s' -l %s\n", c.Name, strings.TrimPrefix(f, "--"))
		}
	}
}

func quoteSingle(s string) string { return strings.ReplaceAll(s, "'", `'\''`) }

func manCommand() *cli.Command {
	return &cli.Command{
		Name:        "man",
		Usage:       "print the manual page",
		Category:    catAbout,
		Description: `   onnxpack man > onnxpack.1`,
		Action: func(c *cli.Context) error {
			page, err := c.App.ToMan()
			if err != nil {
				return err
			}
			_, err = io.WriteString(c.App.Writer, page)
			return err
		},
	}
}
