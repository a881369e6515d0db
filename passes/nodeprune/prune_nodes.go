package nodeprune

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/targets"
)

// PruneNodes removes the channels, heads and hidden units of least importance.
var PruneNodes = passes.Define(passes.Pass{
	Name: "prune-nodes",
	Doc: `remove channels, neurons, heads and hidden units of least importance

What has to go together is found from the axes of every operator. One of ratio,
macs, params, latency and budget says how much goes. Criteria l1, l2, bn, fpgm
and random look at weights alone; wanda also at calibration data; taylor and
fisher at the gradients of the loss on it, with the labels where it has some;
movement at how far weights move away from zero in an epoch of training on labels
(Sanh et al. 2020, arXiv 2005.07683); obs at what the layers behind lose once they
are fitted to the rest. Units are ranked by scope; with sensitivity, the
divergence of the scores is measured without more and more units of each group
alone, and they go where that costs least.

Repair lstsq fits the weights that are left to what the original computes on
calibration data, layer after layer, each on inputs that are repaired already
(He et al. 2017, arXiv 1707.06168; Luo et al. 2017, ThiNet, arXiv 1707.06342), and
to what an activation behind lets through (Zhang et al. 2015, arXiv 1505.06798);
bias only makes up for the means of what was cut. Batch normalizations that are
left get new statistics after either.`,
	Kind: passes.Lossy,
}, NodesOptions{Criterion: "l2", Aggregate: "mean", Scope: "global", Mending: mending, Limit: 0.8, Rounds: 1}, pruneNodes)

// NodesOptions are the options of [PruneNodes]. One of Ratio, MACs, Params,
// Latency and Budget is set.
type NodesOptions struct {
	Mending
	Ratio     float64  `opt:"ratio" help:"share of units to remove, less than 1"`
	MACs      float64  `opt:"macs" help:"multiply-accumulates to keep, as a share of the model's"`
	Params    float64  `opt:"params" help:"parameters to keep, as a share of the model's"`
	Latency   float64  `opt:"latency" help:"measured latency to reach, as a share of the model's"`
	Budget    float64  `opt:"budget" help:"points of accuracy on the calibration data that may be lost; as much goes as that allows"`
	Rounds    int      `opt:"rounds" help:"number of cuts, each with importance measured anew, and repair, after the last"`
	Criterion string   `opt:"by" oneof:"l1|l2|bn|fpgm|random|wanda|taylor|fisher|movement|obs" help:"importance of a unit"`
	Aggregate string   `opt:"aggregate" oneof:"sum|mean|max|l2" help:"how the importance in each weight of a group is put together"`
	Scope     string   `opt:"scope" oneof:"global|group|isomorphic|sensitivity" help:"which units are ranked together, or what decides how many go of each group"`
	Multiple  int      `opt:"multiple" help:"number that kept units are a multiple of; 0 is 1, or with latency what the target computes at once"`
	Limit     float64  `opt:"limit" help:"greatest share that a group may lose"`
	Widths    bool     `opt:"widths" help:"also cut what means are taken along, such as the width of layer normalizations"`
	Sensitive bool     `opt:"sensitivity" help:"report by how much outputs diverge without a third of each layer"`
	Include   []string `opt:"include" help:"weights whose groups are pruned, patterns with * and ?; all if empty"`
	Exclude   []string `opt:"exclude" help:"weights whose groups are left alone, patterns with * and ?"`
}

// Validate reports options that contradict each other or are out of range.
func (o NodesOptions) Validate() error {
	given := 0
	for _, t := range []struct {
		name string
		x    float64
	}{{"ratio", o.Ratio}, {"macs", o.MACs}, {"params", o.Params}, {"latency", o.Latency}} {
		if t.x < 0 || t.x >= 1 {
			return fmt.Errorf("option %q: got %v, want more than 0 and less than 1", t.name, t.x)
		}
		if t.x > 0 {
			given++
		}
	}
	if o.Budget > 0 {
		given++
	}
	switch {
	case o.Budget < 0 || o.Budget >= 100:
		return fmt.Errorf("option \"budget\": got %v, want points of accuracy, more than 0 and less than 100", o.Budget)
	case given != 1:
		return errors.New("want one of the options \"ratio\", \"macs\", \"params\", \"latency\" and \"budget\"")
	case o.Multiple < 0:
		return fmt.Errorf("option \"multiple\": got %d, want a positive number", o.Multiple)
	case o.Rounds < 1:
		return fmt.Errorf("option \"rounds\": got %d, want at least 1", o.Rounds)
	case o.Limit <= 0 || o.Limit > 1:
		return fmt.Errorf("option \"limit\": got %v, want more than 0 and at most 1", o.Limit)
	}
	return o.Mending.Validate()
}

// looksAtData reports whether the options need calibration data.
func (o NodesOptions) looksAtData() bool {
	return slices.Contains([]string{"wanda", "taylor", "fisher", "movement", "obs"}, o.Criterion) || o.Scope == "sensitivity" || o.Repair != "none" || o.Budget > 0 || o.Sensitive
}

// multiple returns what the number of kept units is a multiple of: for a
// latency, half of the floats in a vector, since the engine computes channels
// by the vector and gains little from fewer.
func (o NodesOptions) multiple(t *targets.Target) int {
	switch {
	case o.Multiple > 0:
		return o.Multiple
	case o.Latency > 0 && t != nil:
		return max(1, t.VectorBytes/8)
	}
	return 1
}

// pruneNodes cuts as much as is asked for, and repairs.
func pruneNodes(j *passes.Job, o NodesOptions) error {
	if err := o.Validate(); err != nil { // defaults are not asked
		return err
	}
	if o.looksAtData() && j.Env.Calibration == nil {
		return fmt.Errorf("pass %q: by:%s and repair:%s, a budget or sensitivity need calibration data, none was given", "prune-nodes", o.Criterion, o.Repair)
	}
	cut := o.cut
	if o.Budget > 0 {
		cut = o.cutWithin
	}
	var divergence map[string]float64
	if o.Sensitive {
		var err error
		if divergence, err = sensitivities(j); err != nil {
			return err
		}
	}
	original := j.Model.Clone()
	done, err := cut(j)
	if err != nil || done == nil {
		return err
	}
	done.report(j)
	done.reportLayers(j, original, divergence)
	return nil
}
