package weightprune

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/passes"
)

// Options are what the passes that prune have in common. One of Sparsity,
// Threshold, Size and Budget is set, or Pattern is one of N:M.
type Options struct {
	Pattern   Pattern  `opt:"pattern" help:"what goes together: unstructured, N:M along the inputs such as 2:4, or blocks of outputs x inputs such as 4x1"`
	Sparsity  float64  `opt:"sparsity" help:"share of weights to set to zero, at least 0 and less than 1"`
	Threshold float64  `opt:"threshold" help:"score below which weights are set to zero"`
	Size      float64  `opt:"size" help:"bytes that the pruned weights may take when compressed (deflate)"`
	Budget    float64  `opt:"budget" help:"accuracy that may be lost on calibration data, every second sample of which is held back for it where a pass learns from samples; 0.005 is half a point; without labels, answers that may change"`
	Scope     string   `opt:"scope" oneof:"layer|global|owl|sensitivity" help:"how layers share what goes: alike, by rank of all weights, by outliers, or by measured loss"`
	Steps     int      `opt:"steps" help:"prune in so many steps with cubically falling increments, each with fresh calibration"`
	Repair    []string `opt:"repair" help:"what mends the result: refit, dsnot, bias or scale, batchnorm"`
	InTurn    bool     `opt:"in_turn" help:"prune layers from the first to the last, each fitted to the original's results on the inputs that those before it leave"`
	Mirror    bool     `opt:"mirror" help:"in turn, see mirrored images too: calibration samples that are floats of four axes, with left and right exchanged"`
	Include   []string `opt:"include" help:"nodes that are pruned, patterns with * and ?; all if empty"`
	Exclude   []string `opt:"exclude" help:"nodes that are left alone, patterns with * and ?"`
}

// the repairs, in the order in which they are done.
const (
	repairDSnoT     = "dsnot"
	repairRefit     = "refit"
	repairBias      = "bias"
	repairScale     = "scale"
	repairBatchNorm = "batchnorm"
)

// defaults are the options of a pass where nothing is said.
func defaults() Options { return Options{Scope: "layer", Steps: 1} }

// Validate reports options that contradict each other or are out of range.
func (o Options) Validate() error {
	amounts := 0
	for _, x := range []float64{o.Sparsity, o.Threshold, o.Size, o.Budget} {
		if x != 0 {
			amounts++
		}
	}
	switch {
	case o.Pattern.M > 0 && amounts > 0:
		return fmt.Errorf("the pattern %v says how many weights go, want none of the options \"sparsity\", \"threshold\", \"size\" and \"budget\"", o.Pattern)
	case o.Pattern.M == 0 && amounts != 1:
		return errors.New("want one of the options \"sparsity\", \"threshold\", \"size\" and \"budget\", or a pattern N:M")
	case o.Sparsity < 0 || o.Sparsity >= 1:
		return fmt.Errorf("option \"sparsity\": got %v, want at least 0 and less than 1", o.Sparsity)
	case o.Threshold < 0:
		return fmt.Errorf("option \"threshold\": got %v, want more than 0", o.Threshold)
	case o.Size < 0:
		return fmt.Errorf("option \"size\": got %v, want more than 0", o.Size)
	case o.Budget < 0 || o.Budget >= 1:
		return fmt.Errorf("option \"budget\": got %v, want more than 0 and less than 1", o.Budget)
	case o.Steps < 1 || o.Steps > 100:
		return fmt.Errorf("option \"steps\": got %d, want 1 to 100", o.Steps)
	case o.Steps > 1 && o.Sparsity == 0:
		return errors.New("option \"steps\": want a sparsity to approach")
	case o.Mirror && !o.InTurn:
		return errors.New("option \"mirror\": want it with in_turn")
	case o.Scope != "layer" && (o.Threshold != 0 || o.Pattern.M > 0):
		return fmt.Errorf("option \"scope\": got %q, want layer: a threshold or N:M leaves nothing to share out", o.Scope)
	}
	for _, r := range o.Repair {
		if !slices.Contains([]string{repairDSnoT, repairRefit, repairBias, repairScale, repairBatchNorm}, r) {
			return fmt.Errorf("option \"repair\": got %q, want dsnot, refit, bias, scale or batchnorm", r)
		}
	}
	return nil
}

// repairs reports whether a repair is wanted.
func (o *Options) repairs(name string) bool { return slices.Contains(o.Repair, name) }

// keepsOriginal reports whether the repairs look at the model before pruning.
func (o *Options) keepsOriginal() bool { return o.repairs(repairBias) || o.repairs(repairScale) }

// refuses says why a layer is left as it is, "" if it is not.
func (o *Options) refuses(l *layer) string {
	switch {
	case len(o.Include) > 0 && !passes.Match(o.Include, l.name):
		return "it is not included"
	case passes.Match(o.Exclude, l.name):
		return "it is excluded"
	}
	return o.Pattern.refuses(l.matrix)
}

// CubicSparsity is the share of zeros after step of steps: it rises fast at
// first, when there is most to spare. (Zhu & Gupta 2017, arXiv 1710.01878.)
func CubicSparsity(step, steps int, from, to float64) float64 {
	rest := 1 - float64(step)/float64(steps)
	return to + (from-to)*rest*rest*rest
}
