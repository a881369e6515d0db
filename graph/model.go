package graph

import "slices"

// Prop is one entry of a metadata_props list.
type Prop struct{ Key, Value string }

// Opset says which version of a domain's operators a model speaks. The
// standard domain is "" ("ai.onnx" is read as "").
type Opset struct {
	Domain  string
	Version int64
}

// Model is an ONNX model.
type Model struct {
	IRVersion       int64
	Producer        string
	ProducerVersion string
	Domain          string
	Version         int64
	Doc             string
	Opsets          []Opset
	Graph           *Graph
	Functions       []*Function
	Metadata        []Prop
	Training        []*Training
	Devices         []DeviceConfig

	Unknown []byte // fields of a later ONNX, as they were encoded
	Wire    []byte // the encoding this was read from
}

// Opset returns the version of a domain that the model imports, 0 if none.
func (m *Model) Opset(domain string) int64 { return opset(m.Opsets, domain) }

// SetOpset imports a version of a domain, in place of the one imported before.
func (m *Model) SetOpset(domain string, version int64) {
	m.Opsets = setOpset(m.Opsets, domain, version)
}

// Function returns the model-local function with the given identity, or nil.
func (m *Model) Function(domain, name, overload string) *Function {
	for _, f := range m.Functions {
		if f.Domain == domain && f.Name == name && f.Overload == overload {
			return f
		}
	}
	return nil
}

func opset(sets []Opset, domain string) int64 {
	for _, s := range sets {
		if s.Domain == domain {
			return s.Version
		}
	}
	return 0
}

func setOpset(sets []Opset, domain string, version int64) []Opset {
	sets = slices.Clone(sets)
	for i, s := range sets {
		if s.Domain == domain {
			sets[i].Version = version
			return sets
		}
	}
	return append(sets, Opset{domain, version})
}

// Function is a model-local function: a named graph with attributes, which a
// node calls by its domain, name and overload. Its body's inputs and outputs
// need not have types; attributes of its nodes may refer to the function's
// (Attr.Ref).
type Function struct {
	Domain, Name, Overload string
	Doc                    string
	Opsets                 []Opset
	Attrs                  []string // attributes that a call must give
	Defaults               []*Attr  // attributes that a call may give
	Body                   *Graph
	Metadata               []Prop

	Unknown []byte
	Wire    []byte
}

// Opset returns the version of a domain that the function imports, 0 if none.
func (f *Function) Opset(domain string) int64 { return opset(f.Opsets, domain) }

// Training is one training_info entry: how the model is initialised and how
// one step of training changes it.
type Training struct {
	Init, Algorithm *Graph // either may be nil
	InitBinding     []Prop
	UpdateBinding   []Prop

	Unknown []byte
	Wire    []byte
}

// DeviceConfig names a set of devices that nodes may be placed on (IR 11).
type DeviceConfig struct {
	Name    string
	Count   int32
	Devices []string
	Unknown []byte
}
