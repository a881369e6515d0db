package targets

import (
	"errors"
	"reflect"
	"runtime"
	"testing"
)

func TestNamesFindTheirTargets(t *testing.T) {
	for _, want := range All() {
		got, err := ByName(want.Name)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ByName(%q) = %v, %v", want.Name, got, err)
		}
	}
	if _, err := ByName("z80"); err == nil {
		t.Error("ByName of an unknown target gave no error")
	}
}

func TestForeignTargets(t *testing.T) {
	for _, target := range All() {
		table, err := target.Kernels()
		switch {
		case err == nil && table.Name != target.Name:
			t.Errorf("%s: table is named %q", target.Name, table.Name)
		case err == nil && target.Arch != runtime.GOARCH:
			t.Errorf("%s: kernels run on %s", target.Name, runtime.GOARCH)
		case err != nil && !errors.Is(err, ErrForeign):
			t.Errorf("%s: error %v, want one that wraps ErrForeign", target.Name, err)
		}
	}
	if _, err := Host().Kernels(); err != nil {
		t.Errorf("host: %v", err)
	}
}

// TestTablesAreComplete keeps every row of every table that runs here filled.
func TestTablesAreComplete(t *testing.T) {
	for _, target := range All() {
		tables := []any{target.Emulated()}
		if table, err := target.Kernels(); err == nil {
			tables = append(tables, table)
		}
		for _, table := range tables {
			v := reflect.ValueOf(table).Elem()
			for i := range v.NumField() {
				if v.Field(i).IsZero() {
					t.Errorf("%s: row %s is empty", target.Name, v.Type().Field(i).Name)
				}
			}
		}
	}
}
