package convert

import (
	"fmt"

	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/opset"
)

// ConvertOpset makes a model speak another version of ONNX's operators.
var ConvertOpset = passes.Define(passes.Pass{
	Name: "convert-opset",
	Doc: `make the model speak another version of ONNX's standard operators

Up, every change of an operator is followed: attributes that became inputs,
Upsample that became Resize, Softmax over several axes, broadcasting by
attributes. Down, that is done where the older version can say the same; the
error names the node where it cannot. ir_version rises with the opset, and
does not fall.`,
	Kind: passes.Rounding,
}, OpsetOptions{}, convertOpset)

// OpsetOptions are the options of [ConvertOpset].
type OpsetOptions struct {
	To int `opt:"to" help:"version to convert to"`
}

// Validate reports a version that is not known.
func (o OpsetOptions) Validate() error {
	if o.To < 1 || o.To > opset.Latest {
		return fmt.Errorf("option \"to\": got %d, want 1 to %d", o.To, opset.Latest)
	}
	return nil
}

func convertOpset(j *passes.Job, o OpsetOptions) error {
	if err := o.Validate(); err != nil { // defaults are not asked
		return err
	}
	from := j.Model.Opset("")
	if from == int64(o.To) {
		return nil
	}
	m, err := opset.Convert(j.Model, int64(o.To))
	if err != nil {
		return fmt.Errorf("from opset %d to %d: %w", from, o.To, err)
	}
	j.Model = m
	j.Changed(1)
	j.Note("opset %d became %d", from, o.To)
	return nil
}
