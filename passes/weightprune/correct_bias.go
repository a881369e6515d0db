package weightprune

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
)

// CorrectBias gives channels the mean that they have in the original.
var CorrectBias = passes.Define(passes.Pass{
	Name: "correct-bias",
	Doc: `give channels the mean that they have in the original

Products with constant weights are taken from the first to the last. The bias of
each becomes that with which every channel has the mean, behind the Relu or Clip
that may follow, that its readers read in the original, where they bear the same
names. (Nagel et al. 2019, arXiv 1906.04721, appendix D.)`,
	Kind:  passes.Lossy,
	Needs: passes.Calibration | passes.Models,
}, BiasOptions{}, correctBias)

// BiasOptions are the options of [CorrectBias].
type BiasOptions struct {
	Original string `opt:"original" help:"which model is the original (default: the only one given)"`
}

func correctBias(j *passes.Job, o BiasOptions) error {
	original, err := originalModel(j, o.Original)
	if err != nil {
		return err
	}
	changed, err := restoreChannels(j, original, func(*graph.Node) *layer { return nil })
	j.Changed(changed)
	return err
}
