package onnxio

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
)

// maxDepth is how deep messages may be nested, the limit of protobuf's C++
// readers.
const maxDepth = 100

// Limits on what a file may make the reader build: few bytes can stand for
// large objects, or for work that grows with their square.
const (
	maxObjects = 4 << 20 // nodes, attributes, values, tensors and types of a model
	maxAttrs   = 1 << 10 // attributes of a node
	maxRenamed = 4 << 10 // results whose name is made again later
)

// decoder reads objects of the graph from their encodings. Spans of the
// encoding end up in tensors and Wire fields; strings are copied.
type decoder struct {
	depth    int      // messages around the one being read
	objects  int      // read so far
	external elements // nil where external data is not allowed

	renamed map[scopedName]*graph.Value // names that are made more than once
	renames int
}

// elements gives the n bytes of a tensor that is kept outside the model.
type elements func(e *graph.External, n int) ([]byte, error)

// within runs read one level of messages deeper.
func (d *decoder) within(read func() error) error {
	if d.depth >= maxDepth {
		return fmt.Errorf("messages are nested more than %d deep", maxDepth)
	}
	d.depth++
	err := read()
	d.depth--
	return err
}

// count counts an object that is read.
func (d *decoder) count() error {
	if d.objects++; d.objects > maxObjects {
		return fmt.Errorf("model has more than %d nodes, attributes, values, tensors and types", maxObjects)
	}
	return nil
}

// opsetDomainOf maps the long name of the standard domain to the short one.
func opsetDomainOf(s string) string {
	if s == "ai.onnx" {
		return ""
	}
	return s
}

func (d *decoder) model(b []byte) (*graph.Model, error) {
	m := &graph.Model{Wire: b}
	var main []byte
	var functions, training [][]byte
	for f, err := range fields(b) {
		switch {
		case err != nil:
			return nil, err
		case f.isVarint(modelIRVersion):
			m.IRVersion = f.int()
		case f.isBytes(modelProducer):
			m.Producer = f.text()
		case f.isBytes(modelProducerVersion):
			m.ProducerVersion = f.text()
		case f.isBytes(modelDomain):
			m.Domain = f.text()
		case f.isVarint(modelVersion):
			m.Version = f.int()
		case f.isBytes(modelDoc):
			m.Doc = f.text()
		case f.isBytes(modelGraph):
			main = join(main, f.val)
		case f.isBytes(modelOpset):
			m.Opsets, err = appendOpset(m.Opsets, f.val)
		case f.isBytes(modelMetadata):
			m.Metadata, err = appendProp(m.Metadata, f.val)
		case f.isBytes(modelTraining):
			training = append(training, f.val)
		case f.isBytes(modelFunction):
			functions = append(functions, f.val)
		case f.isBytes(modelDevices):
			m.Devices, err = appendDevice(m.Devices, f.val)
		default:
			m.Unknown = append(m.Unknown, f.raw...)
		}
		if err != nil {
			return nil, err
		}
	}
	if main == nil {
		return nil, fmt.Errorf("model has no graph")
	}
	m.Graph = graph.New("")
	m.Graph.Attach(m)
	if err := d.graph(m.Graph, main); err != nil {
		return nil, err
	}
	for _, w := range functions {
		f, err := d.function(m, w)
		if err != nil {
			return nil, err
		}
		m.Functions = append(m.Functions, f)
	}
	for i, w := range training {
		t, err := d.training(m, w)
		if err != nil {
			return nil, fmt.Errorf("training_info %d: %w", i, err)
		}
		m.Training = append(m.Training, t)
	}
	return m, nil
}

func appendOpset(sets []graph.Opset, b []byte) ([]graph.Opset, error) {
	var o graph.Opset
	for f, err := range fields(b) {
		switch {
		case err != nil:
			return nil, fmt.Errorf("opset_import: %w", err)
		case f.isBytes(opsetDomain):
			o.Domain = opsetDomainOf(f.text())
		case f.isVarint(opsetVersion):
			o.Version = f.int()
		}
	}
	return append(sets, o), nil
}

func appendProp(props []graph.Prop, b []byte) ([]graph.Prop, error) {
	var p graph.Prop
	for f, err := range fields(b) {
		switch {
		case err != nil:
			return nil, fmt.Errorf("key and value: %w", err)
		case f.isBytes(propKey):
			p.Key = f.text()
		case f.isBytes(propValue):
			p.Value = f.text()
		}
	}
	return append(props, p), nil
}

func appendDevice(list []graph.DeviceConfig, b []byte) ([]graph.DeviceConfig, error) {
	var c graph.DeviceConfig
	for f, err := range fields(b) {
		switch {
		case err != nil:
			return nil, fmt.Errorf("device configuration: %w", err)
		case f.isBytes(deviceName):
			c.Name = f.text()
		case f.isVarint(deviceCount):
			c.Count = int32(f.int())
		case f.isBytes(deviceList):
			c.Devices = append(c.Devices, f.text())
		default:
			c.Unknown = append(c.Unknown, f.raw...)
		}
	}
	return append(list, c), nil
}

func (d *decoder) training(m *graph.Model, b []byte) (*graph.Training, error) {
	t := &graph.Training{Wire: b}
	var first, step []byte
	for f, err := range fields(b) {
		switch {
		case err != nil:
			return nil, err
		case f.isBytes(trainingInit):
			first = join(first, f.val)
		case f.isBytes(trainingAlgorithm):
			step = join(step, f.val)
		case f.isBytes(trainingInitBinding):
			t.InitBinding, err = appendProp(t.InitBinding, f.val)
		case f.isBytes(trainingUpdateBinding):
			t.UpdateBinding, err = appendProp(t.UpdateBinding, f.val)
		default:
			t.Unknown = append(t.Unknown, f.raw...)
		}
		if err != nil {
			return nil, err
		}
	}
	var err error
	if t.Init, err = d.trainingGraph(m, first); err != nil {
		return nil, err
	}
	t.Algorithm, err = d.trainingGraph(m, step)
	return t, err
}

func (d *decoder) trainingGraph(m *graph.Model, b []byte) (*graph.Graph, error) {
	if b == nil {
		return nil, nil
	}
	g := graph.New("")
	g.Attach(m)
	return g, d.graph(g, b)
}

func (d *decoder) function(m *graph.Model, b []byte) (*graph.Function, error) {
	fn := &graph.Function{Wire: b}
	var body graphFields
	var defaults [][]byte
	for f, err := range fields(b) {
		switch {
		case err != nil:
			return nil, fmt.Errorf("function %q: %w", fn.Name, err)
		case f.isBytes(functionName):
			fn.Name = f.text()
		case f.isBytes(functionDomain):
			fn.Domain = opsetDomainOf(f.text())
		case f.isBytes(functionOverload):
			fn.Overload = f.text()
		case f.isBytes(functionDoc):
			fn.Doc = f.text()
		case f.isBytes(functionInput):
			body.inputs = append(body.inputs, valueInfo{name: f.text()})
		case f.isBytes(functionOutput):
			body.outputs = append(body.outputs, valueInfo{name: f.text()})
		case f.isBytes(functionAttr):
			fn.Attrs = append(fn.Attrs, f.text())
		case f.isBytes(functionDefault):
			defaults = append(defaults, f.val)
		case f.isBytes(functionNode):
			err = body.addNode(d, f.val)
		case f.isBytes(functionValueInfo):
			err = body.addValueInfo(d, f.val)
		case f.isBytes(functionOpset):
			fn.Opsets, err = appendOpset(fn.Opsets, f.val)
		case f.isBytes(functionMetadata):
			fn.Metadata, err = appendProp(fn.Metadata, f.val)
		default:
			fn.Unknown = append(fn.Unknown, f.raw...)
		}
		if err != nil {
			return nil, fmt.Errorf("function %q: %w", fn.Name, err)
		}
	}
	fn.Body = graph.New(fn.Name)
	fn.Body.AttachFunction(m, fn)
	if err := d.functionParts(fn, &body, defaults); err != nil {
		return nil, fmt.Errorf("function %q: %w", fn.Name, err)
	}
	return fn, nil
}

func (d *decoder) functionParts(fn *graph.Function, body *graphFields, defaults [][]byte) error {
	for _, w := range defaults {
		a, err := d.attr(nil, w)
		if err != nil {
			return err
		}
		fn.Defaults = append(fn.Defaults, a)
	}
	return d.build(fn.Body, body)
}
