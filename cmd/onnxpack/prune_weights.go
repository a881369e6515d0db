package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/weightprune"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// weightCriteria are the passes that --by means for weights, with the criterion
// of the pass where it has several.
var weightCriteria = map[string]string{
	"magnitude": "prune-magnitude=", "energy": "prune-magnitude=criterion:energy;", "lamp": "prune-magnitude=criterion:lamp;",
	"random": "prune-magnitude=criterion:random;", "wanda": "prune-wanda=", "obs": "prune-obs=",
	"obd": "prune-obs=criterion:obd;", "sparsegpt": "prune-sparsegpt=", "taylor": "prune-taylor=",
	"fisher": "prune-taylor=criterion:fisher;", "movement": "prune-taylor=criterion:movement;",
}

// weightAmounts are the options that --weights sets by name.
var weightAmounts = []string{"sparsity", "threshold", "size", "budget"}

// weightsStep writes the step that --weights asks for, as one of several rounds:
// [PATTERN:]AMOUNT, where the pattern N:M stands alone.
func weightsStep(c *cli.Context, text string, round, rounds int) (string, error) {
	by := "magnitude"
	if c.IsSet("by") {
		by = c.String("by")
	}
	step, ok := weightCriteria[by]
	if !ok {
		return "", fmt.Errorf("--by is %q, want for weights one of %s", by, strings.Join(slices.Sorted(maps.Keys(weightCriteria)), ", "))
	}
	amount, err := weightsAmount(text, round, rounds)
	if err != nil {
		return "", err
	}
	step += amount
	if c.IsSet("scope") && c.String("nodes") == "" {
		step += ";scope:" + c.String("scope")
	}
	var repairs []string
	for _, r := range strings.Split(c.String("repair"), ",") {
		switch r = strings.TrimSpace(r); r {
		case "", "none":
		case "in-turn":
			step += ";in_turn:true"
		case "lstsq":
			repairs = append(repairs, "refit")
		default:
			repairs = append(repairs, r)
		}
	}
	if len(repairs) > 0 {
		step += ";repair:" + strings.Join(repairs, "|")
	}
	return step, nil
}

// weightsAmount writes the options that the value of --weights stands for. Of
// several rounds, each leaves fewer weights; the share of zeros rises as
// [weightprune.CubicSparsity] says.
func weightsAmount(text string, round, rounds int) (string, error) {
	n, m, pair := strings.Cut(text, ":")
	if pair && isWhole(n) && isWhole(m) {
		if rounds > 1 {
			return "", fmt.Errorf("--rounds is given with %q, want a share of zeros in --weights", text)
		}
		return "pattern:" + text, nil
	}
	pattern := ""
	amount := text
	if pair {
		pattern, amount = "pattern:"+n+";", m
	}
	if share, err := strconv.ParseFloat(amount, 64); err == nil {
		return fmt.Sprintf("%ssparsity:%.4g", pattern, weightprune.CubicSparsity(round, rounds, 0, share)), nil
	}
	if rounds > 1 {
		return "", fmt.Errorf("--rounds is given with %q, want a share of zeros in --weights", text)
	}
	if key, value, ok := strings.Cut(amount, "="); ok && slices.Contains(weightAmounts, key) {
		return pattern + key + ":" + value, nil
	}
	return "", fmt.Errorf("--weights is %q, want a share of zeros such as 0.8, a pattern such as 2:4 or 4x1:0.9, or %s= with a number",
		text, strings.Join(weightAmounts[1:], "=, "))
}

func isWhole(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// zeros says what the zeros of a pruned model are good for.
type zeros struct {
	Share            float64 `json:"share"` // of the weights that were pruned
	Layers           int     `json:"layers"`
	CompressedBefore float64 `json:"compressed_bytes_before"`
	Compressed       float64 `json:"compressed_bytes"`
	Sparse           int     `json:"sparse_steps"` // steps of a run that leave zeros out
}

// zerosOf returns what the reports of passes and a run of the model say of its
// zeros, nil if no pass pruned weights.
func (o *optimizer) zerosOf(ctx context.Context, m *graph.Model, steps []*passes.StepReport) (*zeros, error) {
	var z *zeros
	for _, s := range steps {
		share, ok := s.Figures["sparsity"]
		if !ok {
			continue
		}
		if z == nil {
			z = &zeros{CompressedBefore: s.Figures["compressed bytes before"]}
		}
		z.Share, z.Compressed, z.Layers = share, s.Figures["compressed bytes"], 0
		for key := range s.Figures {
			if strings.HasPrefix(key, "sparsity of ") {
				z.Layers++
			}
		}
	}
	if z == nil || o.unmeasured != "" || o.feeds == nil {
		return z, nil
	}
	options := o.engine
	options.Trace = func(s engine.Step) {
		if strings.HasPrefix(s.Op, "Sparse") {
			z.Sparse++
		}
	}
	session, err := engine.Compile(ctx, m, options)
	if err != nil {
		return z, nil // another CPU's code: nothing is known of it
	}
	_, err = session.Run(ctx, o.feeds)
	return z, err
}

func (z *zeros) write(w io.Writer) {
	fmt.Fprintf(w, "zeros: %.1f %% of the weights of %d layers; compressed, they take %s instead of %s.\n",
		100*z.Share, z.Layers, bytesText(int64(z.Compressed)), bytesText(int64(z.CompressedBefore)))
	fmt.Fprintf(w, "%d layers run with sparse kernels here; the others, and all of them in ONNX Runtime, multiply zeros like any number.\n\n", z.Sparse)
}
