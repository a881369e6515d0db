package op

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/onnxpack/onnxpack/graph"
)

// families lists the operators of every family.
var families = [][]*Def{
	mathDefs,
	activationDefs,
	softmaxDefs,
	matmulDefs,
	scanDefs,
	legacyDefs,
	signalDefs,
	lossDefs,
	logicalDefs,
	reductionDefs,
	generatorDefs,
	tensorDefs,
	nnDefs,
	convDefs,
	poolDefs,
	normDefs,
	rnnDefs,
	attentionDefs,
	imageDefs,
	quantizationDefs,
	sequenceDefs,
	optionalDefs,
	textDefs,
	controlDefs,
	randomDefs,
	trainingDefs,
	mlLinearDefs,
	mlTreesDefs,
	mlFeaturesDefs,
	msQuantDefs,
	msAttentionDefs,
	msFusedDefs,
	msGeneralDefs,
	privateDefs,
	privateConvDefs,
	privatePoolDefs,
	privateNormDefs,
	privateLossDefs,
	privateCTCDefs,
	privateSelectDefs,
	privateResizeDefs,
	privateLinearDefs,
	privateImageDefs,
	privateRegionDefs,
	privateMicrosoftDefs,
}

// all joins the families, and gives each Def the rules that stand in tables
// by name: gradients and bodies, which have files of their own.
var all = sync.OnceValue(func() []*Def {
	defs := slices.Concat(families...)
	for _, d := range defs {
		if d.Grad == nil {
			d.Grad = gradRules[opName{d.Domain, d.Name}]
		}
		if d.Body == "" && d.BodyFor == nil {
			d.BodyFor = bodies[opName{d.Domain, d.Name}]
		}
	}
	return defs
})

// All ranges over every Def, family by family.
func All() iter.Seq[*Def] { return slices.Values(all()) }

type opName struct{ domain, name string }

// index finds the Defs of an operator, in order of their first version.
var index = sync.OnceValue(func() map[opName][]*Def {
	m := map[opName][]*Def{}
	for d := range All() {
		k := opName{d.Domain, d.Name}
		m[k] = append(m[k], d)
	}
	for _, defs := range m {
		slices.SortFunc(defs, func(a, b *Def) int { return int(a.Since - b.Since) })
	}
	return m
})

// Find returns what is known of an operator in the given version of its
// domain, nil if the operator, or that version of it, is not known. The
// domain "ai.onnx" is "". Models need not import com.microsoft (version 0) to
// use it, as ONNX Runtime reads them.
func Find(domain, name string, version int64) *Def {
	domain, version = inForce(domain, version)
	for _, d := range index()[opName{domain, name}] {
		if d.Since <= version && (d.Until == 0 || version <= d.Until) {
			return d
		}
	}
	return nil
}

// Unknown is the error of a node whose operator is not known in the version
// of its domain that is in force, 0 if there is none.
func Unknown(n *graph.Node, version int64) error {
	domain := cmp.Or(n.Domain, "ai.onnx")
	if version == 0 {
		return fmt.Errorf("operator %s: the model imports domain %q in no version, or in version 0, want at least 1", n.Op, domain)
	}
	return fmt.Errorf("operator %s of domain %q, version %d, is not known", n.Op, domain, version)
}

// inForce returns the name of a domain here and the version of it that holds
// where a model imports the given one.
func inForce(domain string, version int64) (string, int64) {
	switch domain {
	case "ai.onnx":
		return "", version
	case "com.microsoft":
		return domain, max(1, version)
	}
	return domain, version
}
