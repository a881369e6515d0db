package dataset

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// spec is a parsed specification. Keys are marked as they are read, so that
// one which nobody reads is an error.
type spec struct {
	kind      string
	path      string
	keys      map[string]string
	known     []string
	rangeText string
}

func parseSpec(text string) (*spec, error) {
	kind, rest, ok := strings.Cut(text, ":")
	if !ok || kind == "" {
		return nil, fmt.Errorf("data %q: want kind:path?key=value&…, with a kind of %s", text, strings.Join(kindNames(), ", "))
	}
	s := &spec{kind: kind, keys: map[string]string{}}
	path, query, _ := strings.Cut(rest, "?")
	s.path = path
	if path == "" {
		return nil, fmt.Errorf("data %q: there is nothing after %q", text, kind+":")
	}
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("data %q: %q is not key=value", text, part)
		}
		value, err := url.PathUnescape(value)
		if err != nil {
			return nil, fmt.Errorf("data %q: key %q: %v", text, key, err)
		}
		if _, twice := s.keys[key]; twice {
			return nil, fmt.Errorf("data %q: key %q is given twice", text, key)
		}
		s.keys[key] = value
	}
	s.rangeText = s.str("range", "")
	return s, nil
}

func (s *spec) lookup(key string) (string, bool) {
	s.known = append(s.known, key)
	v, ok := s.keys[key]
	return v, ok
}

func (s *spec) str(key, def string) string {
	if v, ok := s.lookup(key); ok {
		return v
	}
	return def
}

func (s *spec) integer(key string, def int) (int, error) {
	v, ok := s.lookup(key)
	if !ok {
		return def, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, fmt.Errorf("key %q is %q, want a whole number", key, v)
	}
	return n, nil
}

// floats reads a list of numbers, separated by commas.
func (s *spec) floats(key string, def []float64) ([]float64, error) {
	v, ok := s.lookup(key)
	if !ok {
		return def, nil
	}
	var xs []float64
	for part := range strings.SplitSeq(v, ",") {
		x, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return nil, fmt.Errorf("key %q is %q, want numbers separated by commas", key, v)
		}
		xs = append(xs, x)
	}
	return xs, nil
}

// choice reads a key with a fixed set of values.
func (s *spec) choice(key, def string, allowed ...string) (string, error) {
	v := s.str(key, def)
	if !slices.Contains(allowed, v) {
		return "", fmt.Errorf("key %q is %q, want one of %s", key, v, strings.Join(allowed, ", "))
	}
	return v, nil
}

// unread returns an error for a key that the kind of data does not have.
func (s *spec) unread() error {
	slices.Sort(s.known)
	known := slices.Compact(s.known)
	for _, key := range slices.Sorted(maps.Keys(s.keys)) {
		if !slices.Contains(known, key) {
			return fmt.Errorf("%s has no key %q, want one of %s", s.kind, key, strings.Join(known, ", "))
		}
	}
	return nil
}

// parseRange reads "lo:hi", either of which may be missing, for n samples.
func parseRange(text string, n int) (lo, hi int, err error) {
	bad := fmt.Errorf("range %q: want FROM:TO with 0 <= FROM < TO, of %d samples", text, n)
	a, b, ok := strings.Cut(text, ":")
	if !ok {
		return 0, 0, bad
	}
	hi = n
	if a != "" {
		if lo, err = strconv.Atoi(a); err != nil {
			return 0, 0, bad
		}
	}
	if b != "" {
		if hi, err = strconv.Atoi(b); err != nil {
			return 0, 0, bad
		}
	}
	hi = min(hi, n)
	if lo < 0 || lo >= hi {
		return 0, 0, bad
	}
	return lo, hi, nil
}
