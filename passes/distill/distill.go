package distill

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/passes/internal/train"
)

// Distill trains a model to imitate another.
var Distill = passes.Define(passes.Pass{
	Name: "distill",
	Doc: `train a model to give the answers of a larger one

The teachers are the models of the environment that the option teachers names;
their logits are averaged. Where there are none, the model itself is the
teacher, and its student is made from it: depth=SHARE drops residual blocks,
those that the answers need least, until that share of the multiply-accumulates
is left; layers=N until N blocks are. Weights are inherited, so that the student
begins close to its teacher. Students with fewer channels, lower rank or
integer weights are made by the passes prune-nodes, lower-rank and
quantize-static before this one.

The loss is a weighted sum: kl compares softened probabilities (Hinton et al.
2015), mse logits, hard the labels, dkd is decoupled (Zhao et al. 2022), rkd
relational (Park et al. 2019), hidden compares values inside (Romero et al.
2015), attention where the models look (Zagoruyko and Komodakis 2017). Without
hard, no labels are needed. Values inside are named by pairs, or matched by
their extent: the last of each size of feature maps. With blockwise, each part
of the student up to such a value, or up to the beginning or end of a residual
block that it has from its teacher, learns to give the teacher's, in the channels
that the student has inherited, one part after the other, and the last the
logits.`,
	Kind:  passes.Lossy,
	Needs: passes.Calibration,
}, defaults, runDistill)

var defaults = Options{
	Learning: learning, Student: "given", Teachers: []string{"teacher*", "original"},
	KL: 1, Temperature: 4, Alpha: 1, Beta: 8,
}

// Options are the options of [Distill].
type Options struct {
	Learning
	Student     string   `opt:"student" help:"given, or how many blocks of the teacher it keeps: depth=SHARE or layers=N"`
	Teachers    []string `opt:"teachers" help:"models that teach, patterns with * and ?"`
	Temperature float64  `opt:"temperature" help:"by which logits are divided in kl and dkd"`
	KL          float64  `opt:"kl" help:"weight of the divergence of softened probabilities"`
	Hard        float64  `opt:"hard" help:"weight of the labels' cross entropy"`
	MSE         float64  `opt:"mse" help:"weight of the squared difference of logits"`
	DKD         float64  `opt:"dkd" help:"weight of decoupled distillation"`
	Alpha       float64  `opt:"alpha" help:"in dkd, weight of the right class"`
	Beta        float64  `opt:"beta" help:"in dkd, weight of the other classes"`
	RKD         float64  `opt:"rkd" help:"weight of relational distillation"`
	Hidden      float64  `opt:"hidden" help:"weight of the difference of hidden values"`
	Attention   float64  `opt:"attention" help:"weight of the difference of attention maps"`
	Blockwise   bool     `opt:"blockwise" help:"train the blocks between hidden values one after the other, in bounded memory"`
	Pairs       []string `opt:"pairs" help:"hidden values that are compared, as STUDENT=TEACHER; matched by extent if empty"`
	Scores      string   `opt:"scores" help:"the student's output that is compared (default: the first of floats)"`
}

// Validate reports an option out of range.
func (o Options) Validate() error {
	weights := []float64{o.KL, o.Hard, o.MSE, o.DKD, o.RKD, o.Hidden, o.Attention}
	switch {
	case slices.Min(weights) < 0:
		return fmt.Errorf("a weight of the loss is %v, want at least 0", slices.Min(weights))
	case slices.Max(weights) == 0:
		return errors.New("all weights of the loss are 0")
	case o.Temperature <= 0:
		return fmt.Errorf("option \"temperature\": got %v, want more than 0", o.Temperature)
	}
	if _, err := parseSize(o.Student); err != nil {
		return fmt.Errorf("option \"student\": %w", err)
	}
	return o.Learning.Validate()
}

func runDistill(j *passes.Job, o Options) error {
	models, names, err := teachers(j, o)
	if err != nil {
		return err
	}
	data, held, err := o.samples(j)
	if err != nil {
		return err
	}
	if err := makeStudent(j, o, data); err != nil {
		return err
	}
	sample, err := data.At(0)
	if err != nil {
		return err
	}
	var pairs []pair
	if o.Hidden > 0 || o.Attention > 0 || o.Blockwise {
		match := matchStages
		if o.Blockwise {
			match = matchBlocks
		}
		if pairs = parsePairs(o.Pairs); pairs == nil {
			pairs = match(j.Model, models[names[0]], sample)
		}
		if len(pairs) == 0 {
			return errors.New("student and teacher have no hidden values of one extent: name some by the option \"pairs\"")
		}
	}
	output, err := scoresOf(j.Model, o.Scores)
	if err != nil {
		return err
	}
	scores := ""
	if o.Hard > 0 { // else labels have no say, also in what is best
		if !j.Env.Labelled {
			return errors.New("option \"hard\" needs labels, the data has none")
		}
		scores = output
	}
	j.Note("teachers: %s", strings.Join(names, ", "))
	ask := func(hidden []string, logits bool) (*imitation, error) {
		t, err := newTeacher(j.Context(), models, names, hidden, logits, sample, j.Env.Threads)
		return &imitation{teacher: t, output: output}, err
	}
	if o.Blockwise {
		return o.blockwise(j, ask, pairs, scores, data, held)
	}
	var hidden []string
	for _, p := range pairs {
		hidden = append(hidden, p.teacher)
	}
	i, err := ask(hidden, true)
	if err != nil {
		return err
	}
	if o.Hidden > 0 {
		if err := i.align(j.Context(), j.Model, pairs, data, j.Env.Threads); err != nil {
			return err
		}
	}
	return o.learn(j, train.Task{Loss: o.terms(i, pairs), Scores: scores}, data, held)
}

// teachers returns the models that teach, and their names in order.
func teachers(j *passes.Job, o Options) (map[string]*graph.Model, []string, error) {
	models := map[string]*graph.Model{}
	for name, m := range j.Env.Models {
		if passes.Match(o.Teachers, name) {
			models[name] = m
		}
	}
	if len(models) == 0 && o.Student != "given" {
		models["the model itself"] = j.Model.Clone()
	}
	if len(models) == 0 {
		return nil, nil, fmt.Errorf("there is no model to learn from: none is called %v, and the option \"student\" does not say how to make a smaller one", o.Teachers)
	}
	return models, slices.Sorted(maps.Keys(models)), nil
}

// terms returns the terms that have a weight.
func (o Options) terms(i *imitation, pairs []pair) []train.Term {
	var list []train.Term
	if o.KL > 0 {
		list = append(list, i.kl(o.KL, o.Temperature))
	}
	if o.MSE > 0 {
		list = append(list, i.mse(o.MSE))
	}
	if o.DKD > 0 {
		list = append(list, i.dkd(o.DKD, o.Alpha, o.Beta, o.Temperature))
	}
	if o.RKD > 0 {
		list = append(list, i.rkd(o.RKD))
	}
	for _, p := range pairs {
		if o.Hidden > 0 {
			list = append(list, i.hidden(p, o.Hidden/float64(len(pairs))))
		}
		if o.Attention > 0 {
			list = append(list, i.attention(p, o.Attention/float64(len(pairs))))
		}
	}
	if o.Hard > 0 {
		t := train.Labelled("cross-entropy", i.output, o.Smoothing)
		t.Name, t.Weight = "hard", o.Hard
		list = append(list, t)
	}
	return list
}
