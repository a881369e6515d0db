package graph

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// ignored are fields that say nothing of what an object means.
var ignored = []string{"Wire", "Inferred"}

// eachField calls f with every field that can be set, in all objects that x
// leads to, and its path.
func eachField(x reflect.Value, path string, f func(field reflect.Value, path string)) {
	switch x.Kind() {
	case reflect.Pointer:
		if x.IsNil() {
			return
		}
		eachField(x.Elem(), path, f)
		switch o := x.Interface().(type) {
		case *Graph:
			for v := range o.Values() {
				eachField(reflect.ValueOf(v), path+"/"+v.String(), f)
			}
			for n := range o.Nodes() {
				eachField(reflect.ValueOf(n), path+"/"+n.String(), f)
			}
		case *Node:
			for _, a := range o.attrs {
				eachField(reflect.ValueOf(a), path+"/"+a.Name, f)
			}
		}
	case reflect.Struct:
		for i := range x.NumField() {
			if t := x.Type().Field(i); t.IsExported() && !slices.Contains(ignored, t.Name) {
				eachField(x.Field(i), path+"."+t.Name, f)
			}
		}
	case reflect.Slice:
		f(x, path)
		for i := range x.Len() {
			eachField(x.Index(i), fmt.Sprintf("%s[%d]", path, i), f)
		}
	default:
		f(x, path)
	}
}

// alter changes a field and returns what puts it back.
func alter(x reflect.Value) (restore func()) {
	old := reflect.New(x.Type()).Elem()
	old.Set(x)
	switch x.Kind() {
	case reflect.String:
		x.SetString(x.String() + "x")
	case reflect.Int, reflect.Int32, reflect.Int64:
		x.SetInt(x.Int() + 1)
	case reflect.Uint8:
		x.SetUint(x.Uint() + 1)
	case reflect.Float32:
		x.SetFloat(x.Float() + 1)
	case reflect.Slice:
		if elem := x.Type().Elem(); elem.Kind() != reflect.Pointer {
			x.Set(reflect.Append(reflect.AppendSlice(reflect.MakeSlice(x.Type(), 0, 0), x), reflect.Zero(elem)))
		}
	default:
		panic("no other value of kind " + x.Kind().String())
	}
	return func() { x.Set(old) }
}

func parseUnchecked(t *testing.T, text string) *Model {
	t.Helper()
	m, err := ParseModel(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// parseStated returns a model all of whose types count as stated.
func parseStated(t *testing.T, text string) *Model {
	m := parseUnchecked(t, text)
	for g := range m.Graphs(Everywhere) {
		for v := range g.Values() {
			v.Inferred = false
		}
	}
	return m
}

// TestDiffSeesEveryField alters every field of models that have all kinds of
// objects, one by one, and wants the difference to be seen.
func TestDiffSeesEveryField(t *testing.T) {
	for _, text := range []string{officialText, extendedText} {
		m, o := parseStated(t, text), parseStated(t, text)
		count := 0
		eachField(reflect.ValueOf(m), "model", func(field reflect.Value, path string) {
			if isNaN(field) || field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Pointer {
				return
			}
			restore := alter(field)
			if DiffModels(m, o) == "" {
				t.Errorf("%s is altered, and the models are equal", path)
			}
			restore()
			count++
		})
		if d := DiffModels(m, o); d != "" || count < 100 {
			t.Errorf("after %d alterations: %s", count, d)
		}
	}
}

func isNaN(x reflect.Value) bool { return x.Kind() == reflect.Float32 && x.Float() != x.Float() }

// TestCloneSharesNothing alters every field of a clone but those of types,
// tensors and undecoded bytes, which are shared, and wants the original to
// stay as it was.
func TestCloneSharesNothing(t *testing.T) {
	shared := []string{"Types[", ".Type", ".Tensor", ".Sparse", ".Unknown[", ".Devices["}
	for _, text := range []string{officialText, extendedText} {
		m, want := parseUnchecked(t, text), parseUnchecked(t, text)
		eachField(reflect.ValueOf(m.Clone()), "model", func(field reflect.Value, path string) {
			if !slices.ContainsFunc(shared, func(s string) bool { return strings.Contains(path, s) }) {
				alter(field)
			}
		})
		if d := DiffModels(m, want); d != "" {
			t.Errorf("the original has changed: %s", d)
		}
	}
}

func TestDiffNamesThePlace(t *testing.T) {
	const text = `<ir_version: 9, opset_import: ["": 17]> g (float x) => (float y) { y = If (x) <then_branch = t () => (z) { z = A <k = 1> (x) }> }`
	a := parseUnchecked(t, text)
	b := parseUnchecked(t, strings.Replace(text, "k = 1", "k = 2", 1))
	want := `graph "g": node "y" (If): attribute "then_branch": graph "t": node "z" (A): attribute "k": value is [1] in one and [2] in the other`
	if d := DiffModels(a, b); d != want {
		t.Errorf("got  %s\nwant %s", d, want)
	}
	c := parseUnchecked(t, strings.Replace(text, "float y", "float[2] y", 1))
	if d, want := DiffModels(a, c), `graph "g": value "y": type is float in one and float[2] in the other`; d != want {
		t.Errorf("got  %s\nwant %s", d, want)
	}
}
