package onnxio

import (
	"github.com/onnxpack/onnxpack/graph"
	"google.golang.org/protobuf/encoding/protowire"
)

// The encode functions return an object's message: its Wire if the object is
// unchanged, else its fields in the order of their numbers, with the unknown
// ones last. Lists of numbers are not packed, as proto2 has it.

func encodeModel(m *graph.Model) *message {
	if modelUnchanged(m) {
		return spanOf(m.Wire)
	}
	w := &message{}
	w.int(modelIRVersion, m.IRVersion)
	w.textUnlessEmpty(modelProducer, m.Producer)
	w.textUnlessEmpty(modelProducerVersion, m.ProducerVersion)
	w.textUnlessEmpty(modelDomain, m.Domain)
	w.intUnlessZero(modelVersion, m.Version)
	w.textUnlessEmpty(modelDoc, m.Doc)
	w.message(modelGraph, encodeGraph(m.Graph))
	w.opsets(modelOpset, m.Opsets)
	w.props(modelMetadata, m.Metadata)
	for _, t := range m.Training {
		w.message(modelTraining, encodeTraining(t))
	}
	for _, f := range m.Functions {
		w.message(modelFunction, encodeFunction(f))
	}
	for _, c := range m.Devices {
		w.message(modelDevices, encodeDevice(c))
	}
	w.bytes(m.Unknown)
	return w
}

func (m *message) opsets(num protowire.Number, sets []graph.Opset) {
	for _, o := range sets {
		w := &message{}
		w.textUnlessEmpty(opsetDomain, o.Domain)
		w.int(opsetVersion, o.Version)
		m.message(num, w)
	}
}

func (m *message) props(num protowire.Number, props []graph.Prop) {
	for _, p := range props {
		w := &message{}
		w.text(propKey, p.Key)
		w.text(propValue, p.Value)
		m.message(num, w)
	}
}

func encodeDevice(c graph.DeviceConfig) *message {
	w := &message{}
	w.textUnlessEmpty(deviceName, c.Name)
	w.intUnlessZero(deviceCount, int64(c.Count))
	w.texts(deviceList, c.Devices)
	w.bytes(c.Unknown)
	return w
}

func encodeTraining(t *graph.Training) *message {
	if trainingUnchanged(t) {
		return spanOf(t.Wire)
	}
	w := &message{}
	if t.Init != nil {
		w.message(trainingInit, encodeGraph(t.Init))
	}
	if t.Algorithm != nil {
		w.message(trainingAlgorithm, encodeGraph(t.Algorithm))
	}
	w.props(trainingInitBinding, t.InitBinding)
	w.props(trainingUpdateBinding, t.UpdateBinding)
	w.bytes(t.Unknown)
	return w
}

func encodeFunction(f *graph.Function) *message {
	if functionUnchanged(f) {
		return spanOf(f.Wire)
	}
	w := &message{}
	w.textUnlessEmpty(functionName, f.Name)
	for _, v := range f.Body.Inputs() {
		w.text(functionInput, v.Name())
	}
	for _, v := range f.Body.Outputs() {
		w.text(functionOutput, v.Name())
	}
	w.texts(functionAttr, f.Attrs)
	for _, v := range f.Body.Inits() {
		w.message(functionNode, encodeConstant(v))
	}
	for n := range f.Body.Nodes() {
		w.message(functionNode, encodeNode(n))
	}
	w.textUnlessEmpty(functionDoc, f.Doc)
	w.opsets(functionOpset, f.Opsets)
	w.textUnlessEmpty(functionDomain, f.Domain)
	for _, a := range f.Defaults {
		w.message(functionDefault, encodeAttr(a))
	}
	for _, v := range append(f.Body.Inputs(), made(f.Body)...) {
		if v.Type != nil && !v.Inferred {
			w.message(functionValueInfo, encodeEntry(v))
		}
	}
	w.textUnlessEmpty(functionOverload, f.Overload)
	w.props(functionMetadata, f.Metadata)
	w.bytes(f.Unknown)
	return w
}

// encodeConstant writes an initializer as a node, for functions, which have
// no initializers.
func encodeConstant(v *graph.Value) *message {
	kind := "value"
	if v.Init.Sparse != nil {
		kind = "sparse_value"
	}
	a := graph.TensorAttr(kind, v.Init.Tensor)
	a.Literals = []*graph.Literal{v.Init}
	if v.Init.Sparse != nil {
		a.Kind = graph.AttrSparse
	}
	w := &message{}
	w.text(nodeOutput, v.Name())
	w.text(nodeOp, "Constant")
	w.message(nodeAttr, encodeAttr(a))
	return w
}
