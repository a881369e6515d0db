package passes

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Setting is one option as written by a user. A list may be given as List, or
// in Value with "|" between its items.
type Setting struct {
	Key   string
	Value string
	List  []string
}

func (s Setting) text() string {
	if s.List != nil {
		return strings.Join(s.List, "|")
	}
	return s.Value
}

func (s Setting) items() []string {
	switch {
	case s.List != nil:
		return s.List
	case s.Value == "":
		return []string{}
	}
	return strings.Split(s.Value, "|")
}

// Option describes one option of a pass.
type Option struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Default string   `json:"default"`
	Help    string   `json:"help,omitempty"`
	OneOf   []string `json:"one_of,omitempty"`
}

var textType = reflect.TypeFor[encoding.TextUnmarshaler]()

// optionFields calls f for every tagged field of the struct type t, those of
// embedded structs included.
func optionFields(t reflect.Type, f func(field reflect.StructField, name string)) {
	for _, field := range reflect.VisibleFields(t) {
		if name := field.Tag.Get("opt"); name != "" {
			f(field, name)
		}
	}
}

func describe(defaults any) []Option {
	var opts []Option
	v := reflect.ValueOf(defaults)
	optionFields(v.Type(), func(f reflect.StructField, name string) {
		opts = append(opts, Option{
			Name:    name,
			Type:    typeName(f.Type),
			Default: formatOption(v.FieldByIndex(f.Index)),
			Help:    f.Tag.Get("help"),
			OneOf:   oneOf(f),
		})
	})
	return opts
}

func oneOf(f reflect.StructField) []string {
	if words := f.Tag.Get("oneof"); words != "" {
		return strings.Split(words, "|")
	}
	return nil
}

func typeName(t reflect.Type) string {
	switch {
	case reflect.PointerTo(t).Implements(textType):
		return strings.ToLower(t.Name())
	case t.Kind() == reflect.Slice:
		return "list"
	case t.Kind() == reflect.Float64:
		return "number"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.String:
		return "text"
	}
	return "integer"
}

func formatOption(v reflect.Value) string {
	if s, ok := v.Interface().([]string); ok {
		return strings.Join(s, "|")
	}
	return fmt.Sprint(v.Interface())
}

// changed lists the options in which the struct got differs from want.
func changed(want, got any) []Setting {
	var s []Setting
	w, g := reflect.ValueOf(want), reflect.ValueOf(got)
	optionFields(w.Type(), func(f reflect.StructField, name string) {
		if x := formatOption(g.FieldByIndex(f.Index)); x != formatOption(w.FieldByIndex(f.Index)) {
			s = append(s, Setting{Key: name, Value: x})
		}
	})
	return s
}

// decode sets the fields of the struct that options points to.
func decode(pass string, options any, settings []Setting) error {
	v := reflect.ValueOf(options).Elem()
	fields := map[string]reflect.StructField{}
	var names []string
	optionFields(v.Type(), func(f reflect.StructField, name string) {
		fields[name] = f
		names = append(names, name)
	})
	seen := map[string]bool{}
	for _, s := range settings {
		f, ok := fields[s.Key]
		if !ok {
			return fmt.Errorf("pass %q: unknown option %q%s", pass, s.Key, expectOneOf(s.Key, names))
		}
		if seen[s.Key] {
			return fmt.Errorf("pass %q: option %q is set twice, want once", pass, s.Key)
		}
		seen[s.Key] = true
		if err := setOption(v.FieldByIndex(f.Index), f, s); err != nil {
			return fmt.Errorf("pass %q: option %q: %w", pass, s.Key, err)
		}
	}
	if c, ok := options.(interface{ Validate() error }); ok {
		if err := c.Validate(); err != nil {
			return fmt.Errorf("pass %q: %w", pass, err)
		}
	}
	return nil
}

func setOption(v reflect.Value, f reflect.StructField, s Setting) error {
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String {
		v.Set(reflect.ValueOf(s.items()).Convert(v.Type()))
		return nil
	}
	if s.List != nil {
		return fmt.Errorf("got a list, want one %s", typeName(f.Type))
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(s.Value))
	}
	return setScalar(v, f, s.Value)
}

func setScalar(v reflect.Value, f reflect.StructField, text string) error {
	var err error
	switch v.Kind() {
	case reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		var n int64
		n, err = strconv.ParseInt(text, 10, 64)
		v.SetInt(n)
	case reflect.Float64:
		var x float64
		x, err = strconv.ParseFloat(text, 64)
		if err == nil && x-x != 0 {
			err = strconv.ErrRange
		}
		v.SetFloat(x)
	case reflect.String:
		words := oneOf(f)
		if words != nil && !contains(words, text) {
			return fmt.Errorf("got %q%s", text, expectOneOf(text, words))
		}
		v.SetString(text)
	default:
		panic(fmt.Sprintf("passes: option field %s has type %v, which no text gives", f.Name, v.Type()))
	}
	if err != nil {
		return fmt.Errorf("got %q, want %s", text, article(typeName(f.Type)))
	}
	return nil
}

func contains(words []string, w string) bool {
	for _, x := range words {
		if x == w {
			return true
		}
	}
	return false
}

func article(noun string) string {
	switch {
	case strings.Contains(noun, " "):
		return noun
	case strings.ContainsRune("aeiou", rune(noun[0])):
		return "an " + noun
	}
	return "a " + noun
}

// expectOneOf returns what a message about an unknown word ends with: the
// word that was probably meant, and those there are.
func expectOneOf(word string, words []string) string {
	if len(words) == 0 {
		return ", want none: it has no options"
	}
	list := strings.Join(words, ", ")
	if near := Nearest(word, words); near != "" {
		return fmt.Sprintf(", want one of %s (did you mean %q?)", list, near)
	}
	return ", want one of " + list
}

// Nearest returns the word that is the fewest edits away from w, "" if none
// is close enough to be a misspelling.
func Nearest(w string, words []string) string {
	best, limit := "", len(w)/3+1
	for _, x := range words {
		if d := distance(w, x); d <= limit {
			best, limit = x, d-1
		}
	}
	return best
}

// distance is the Levenshtein distance between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
