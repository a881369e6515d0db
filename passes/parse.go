package passes

import (
	"fmt"
	"strings"
)

// ParseSteps reads steps in the form of the command line: passes divided by
// commas, each with "=" and options as key:value divided by semicolons.
//
//	simplify,prune-magnitude=sparsity:0.5;exclude:head*|stem*,quantize-static
//
// Lists have "|" between their items. all are the passes there are.
func ParseSteps(text string, all []*Pass) ([]Step, error) {
	var steps []Step
	for _, field := range strings.Split(text, ",") {
		s, err := parseStep(strings.TrimSpace(field), all)
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	return steps, nil
}

func parseStep(field string, all []*Pass) (Step, error) {
	name, options, _ := strings.Cut(field, "=")
	p, err := Find(name, all)
	if err != nil {
		return Step{}, err
	}
	var settings []Setting
	for _, o := range strings.Split(options, ";") {
		if o == "" {
			continue
		}
		key, value, ok := strings.Cut(o, ":")
		if !ok {
			return Step{}, fmt.Errorf("pass %q: option %q has no value, want key:value", name, o)
		}
		settings = append(settings, Setting{Key: key, Value: value})
	}
	return p.Step(settings...)
}

// Find returns the pass with the given name, or an error that suggests one.
func Find(name string, all []*Pass) (*Pass, error) {
	names := make([]string, len(all))
	for i, p := range all {
		if p.Name == name {
			return p, nil
		}
		names[i] = p.Name
	}
	if name == "" {
		return nil, fmt.Errorf("a step has no pass name, want one of %s", strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("unknown pass %q%s", name, expectOneOf(name, names))
}
