package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// optionalDefs holds operators over optional values.
var optionalDefs = []*Def{
	{Name: "Optional", Since: 15, Infer: inferOptional, Eval: evalOptional, Cost: noWork},
	{Name: "OptionalGetElement", Since: 15, Infer: inferOptionalGetElement, Eval: evalOptionalGetElement, Cost: noWork},
	{Name: "OptionalHasElement", Since: 15, Infer: inferOptionalHasElement, Eval: evalOptionalHasElement, Cost: noWork},
}

// present returns input 0 unless it is omitted or the empty optional.
func (e *Eval) present() tensor.Value {
	if len(e.In) == 0 {
		return nil
	}
	if _, none := e.In[0].(tensor.None); none {
		return nil
	}
	return e.In[0]
}

func evalOptional(e *Eval) error {
	v := e.present()
	if v == nil {
		v = tensor.None{}
	}
	e.SetOut(0, v)
	return nil
}

func evalOptionalGetElement(e *Eval) error {
	v := e.present()
	if v == nil {
		return fmt.Errorf("the optional is empty")
	}
	e.SetOut(0, v)
	return nil
}

func evalOptionalHasElement(e *Eval) error {
	e.SetOut(0, tensor.Scalar(e.present() != nil))
	return nil
}

func inferOptional(c *Infer) error {
	if len(c.In) > 0 && c.In[0] != nil {
		t := c.In[0]
		if t.Kind != graph.KindOptional {
			t = graph.OptionalOf(t)
		}
		c.SetType(0, t)
		return nil
	}
	if a := c.Node.Attr("type"); a != nil && len(a.Types) == 1 {
		c.SetType(0, graph.OptionalOf(a.Types[0]))
	}
	return nil
}

func inferOptionalGetElement(c *Infer) error {
	if len(c.In) == 0 || c.In[0] == nil {
		return nil
	}
	t := c.In[0]
	if t.Kind == graph.KindOptional {
		t = t.Item
	}
	c.SetType(0, t)
	return nil
}

func inferOptionalHasElement(c *Infer) error {
	c.SetOut(0, tensor.Bool, graph.Dims{})
	return nil
}
