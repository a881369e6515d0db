package passes

import (
	"fmt"
	"slices"
)

// Constraint says that one pass has to come before another where both are in
// a list, and why.
type Constraint struct {
	Before, After string
	Reason        string
}

// CheckOrder reports the first constraint that the list breaks, those that
// the passes state of themselves included.
func CheckOrder(list []*Pass, order []Constraint) error {
	at := map[string]int{}
	for i, p := range list {
		if _, ok := at[p.Name]; ok {
			return fmt.Errorf("pass %q is listed twice", p.Name)
		}
		at[p.Name] = i
	}
	for _, c := range slices.Concat(order, ownConstraints(list)) {
		b, okB := at[c.Before]
		a, okA := at[c.After]
		if okA && okB && b > a {
			return fmt.Errorf("pass %q stands after %q, want before: %s", c.Before, c.After, c.Reason)
		}
	}
	return nil
}

func ownConstraints(list []*Pass) []Constraint {
	var own []Constraint
	for _, p := range list {
		for _, b := range p.After {
			own = append(own, Constraint{Before: b, After: p.Name, Reason: fmt.Sprintf("%q says so", p.Name)})
		}
	}
	return own
}
