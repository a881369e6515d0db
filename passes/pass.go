package passes

import (
	"fmt"
	"strings"
)

// Kind says how far a pass may move the outputs of a model.
type Kind uint8

// The kinds of passes.
const (
	// Exact passes keep the arithmetic of every output.
	Exact Kind = iota
	// Rounding passes compute the same function in another order.
	Rounding
	// Lossy passes approximate.
	Lossy
)

// String returns "exact", "rounding" or "lossy".
func (k Kind) String() string {
	switch k {
	case Exact:
		return "exact"
	case Rounding:
		return "rounding"
	}
	return "lossy"
}

// MarshalText writes the kind as String does.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Needs says what of [Env] a pass cannot do without.
type Needs uint8

// The needs of passes, to be joined with |.
const (
	Calibration Needs = 1 << iota // samples of what the model will see
	Labels                        // labels in those samples
	Models                        // other models, by name
	Target                        // the CPU that the model is for
)

var needNames = []struct {
	need Needs
	name string
	hint string
}{
	{Calibration, "calibration", "calibration data"},
	{Labels, "labels", "labelled data"},
	{Models, "models", "a second model"},
	{Target, "target", "a target"},
}

// Names lists the needs in words.
func (n Needs) Names() []string {
	names := []string{}
	for _, d := range needNames {
		if n&d.need != 0 {
			names = append(names, d.name)
		}
	}
	return names
}

// Pass is one way to change a model. Make it with [Define] or [Fixpoint].
type Pass struct {
	Name  string   // verb-object, "fuse-conv-bn"; also its key in recipes
	Doc   string   // a line, and after an empty one the details
	Kind  Kind     // how far outputs may move
	Needs Needs    // what it cannot do without
	After []string // passes that have to have run before where both are in one pipeline

	defaults any
	bind     func(settings []Setting) (any, error)
	run      func(*Job, any) error
	members  []*Pass // of a Fixpoint
}

// Define makes a pass whose options are a struct O: the fields tagged `opt`
// with the option's name are its options, the values in defaults their
// defaults. run edits the job's model; "did not apply" is a Skip, an error is
// a model or option that makes the pass impossible.
//
// Further tags of an option's field: `help` says what it is for, `oneof`
// lists the words allowed, split by "|". If O has a method Validate() error,
// it is asked after decoding.
func Define[O any](p Pass, defaults O, run func(*Job, O) error) *Pass {
	if err := checkName(p.Name); err != nil {
		panic(err)
	}
	p.defaults = defaults
	p.bind = func(settings []Setting) (any, error) {
		o := defaults
		if err := decode(p.Name, &o, settings); err != nil {
			return nil, err
		}
		return o, nil
	}
	p.run = func(j *Job, o any) error { return run(j, o.(O)) }
	return &p
}

func checkName(name string) error {
	ok := name != "" && !strings.HasPrefix(name, "-") && !strings.HasSuffix(name, "-")
	for _, c := range name {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		return fmt.Errorf("passes: %q is not a pass name: want lower-case words joined by '-'", name)
	}
	return nil
}

// Summary is the first line of the documentation.
func (p *Pass) Summary() string {
	line, _, _ := strings.Cut(p.Doc, "\n")
	return line
}

// Members returns the passes that a [Fixpoint] repeats, nil for any other.
func (p *Pass) Members() []*Pass { return p.members }

// Options describes the options of p, in the order of their declaration.
func (p *Pass) Options() []Option { return describe(p.defaults) }

// Step returns p with options set; those not mentioned have their defaults.
// An unknown key, a key set twice or a bad value is an error that names the
// pass, the key and what was expected.
func (p *Pass) Step(settings ...Setting) (Step, error) {
	o, err := p.bind(settings)
	if err != nil {
		return Step{}, err
	}
	return Step{Pass: p, Settings: settings, options: o}, nil
}

// Default returns p with the defaults of its options.
func (p *Pass) Default() Step { return Step{Pass: p, options: p.defaults} }

// With returns p with the given options, which must be of the type that it
// was defined with.
func (p *Pass) With(options any) Step {
	if fmt.Sprintf("%T", options) != fmt.Sprintf("%T", p.defaults) {
		panic(fmt.Sprintf("passes: %s takes options %T, not %T", p.Name, p.defaults, options))
	}
	return Step{Pass: p, Settings: changed(p.defaults, options), options: options}
}

// Step is a pass with its options.
type Step struct {
	Pass     *Pass
	Settings []Setting
	options  any
}

// String returns the step as [ParseSteps] reads it.
func (s Step) String() string {
	if len(s.Settings) == 0 {
		return s.Pass.Name
	}
	parts := make([]string, len(s.Settings))
	for i, t := range s.Settings {
		parts[i] = t.Key + ":" + t.text()
	}
	return s.Pass.Name + "=" + strings.Join(parts, ";")
}
