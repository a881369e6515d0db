package train

import (
	"math"
	"sync"
)

// Constants of Adam and its kin.
const (
	beta1   = 0.9
	beta2   = 0.999
	epsilon = 1e-8
)

// optimizer holds the method's memory of each parameter.
type optimizer struct {
	o       *Options
	params  []*param
	moments [][][]float32 // by moment, by parameter
}

func newOptimizer(o *Options, params []*param) *optimizer {
	n := 2
	switch {
	case o.Optimizer == "sgd" && o.Momentum == 0:
		n = 0
	case o.Optimizer == "sgd":
		n = 1
	}
	z := &optimizer{o: o, params: params}
	for range n {
		z.moments = append(z.moments, zerosLike(params))
	}
	return z
}

func zerosLike(params []*param) [][]float32 {
	all := make([][]float32, len(params))
	for i, p := range params {
		all[i] = make([]float32, len(p.w))
	}
	return all
}

// update changes every parameter by its gradient; t counts updates from 1.
// Parameters are independent of each other, so the order does not matter.
func (z *optimizer) update(grads [][]float32, rate float64, t int) {
	clip(grads, z.o.Clip)
	inParallel(len(z.params), z.o.Threads, func(i int) {
		p, g := z.params[i], grads[i]
		decay := 0.0
		if p.decays {
			decay = z.o.Decay
		}
		switch z.o.Optimizer {
		case "sgd":
			z.sgd(i, g, rate, decay)
		case "lamb":
			z.lamb(i, g, rate, decay, t)
		default:
			z.adam(i, g, rate, decay, t)
		}
		for k, keep := range p.kept {
			if !keep {
				p.w[k] = 0
			}
		}
	})
}

// clip scales the gradient so that its norm is at most bound.
func clip(grads [][]float32, bound float64) {
	if bound == 0 {
		return
	}
	var sum float64
	for _, g := range grads {
		sum += squares(g)
	}
	norm := math.Sqrt(sum)
	if norm <= bound {
		return
	}
	s := float32(bound / norm)
	for _, g := range grads {
		for k := range g {
			g[k] *= s
		}
	}
}

func squares(x []float32) float64 {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return sum
}

// sgd: m = mu m + (g + decay w); w -= rate m, or rate (g + mu m) after
// Nesterov.
func (z *optimizer) sgd(i int, g []float32, rate, decay float64) {
	w, mu, lr, wd := z.params[i].w, float32(z.o.Momentum), float32(rate), float32(decay)
	if len(z.moments) == 0 {
		for k := range w {
			w[k] -= lr * (g[k] + wd*w[k])
		}
		return
	}
	m := z.moments[0][i]
	for k := range w {
		d := g[k] + wd*w[k]
		m[k] = mu*m[k] + d
		if z.o.Nesterov {
			d += mu * m[k]
		} else {
			d = m[k]
		}
		w[k] -= lr * d
	}
}

// adam is Adam (Kingma and Ba 2015), where decay is part of the gradient, or
// AdamW (Loshchilov and Hutter 2019), where it is not.
func (z *optimizer) adam(i int, g []float32, rate, decay float64, t int) {
	w, m, v := z.params[i].w, z.moments[0][i], z.moments[1][i]
	apart := z.o.Optimizer == "adamw"
	c1, c2 := 1-math.Pow(beta1, float64(t)), 1-math.Pow(beta2, float64(t))
	lr, wd, inv2 := float32(rate/c1), float32(decay), float32(1/c2)
	shrink := float32(1 - rate*decay)
	for k := range w {
		d := g[k]
		if apart {
			w[k] *= shrink
		} else {
			d += wd * w[k]
		}
		m[k] = beta1*m[k] + (1-beta1)*d
		v[k] = beta2*v[k] + (1-beta2)*d*d
		w[k] -= lr * m[k] / (sqrt32(v[k]*inv2) + epsilon)
	}
}

func sqrt32(x float32) float32 { return float32(math.Sqrt(float64(x))) }

// lamb scales Adam's step to the norm of the parameter (You et al. 2020).
func (z *optimizer) lamb(i int, g []float32, rate, decay float64, t int) {
	w, m, v := z.params[i].w, z.moments[0][i], z.moments[1][i]
	c1, c2 := float32(1/(1-math.Pow(beta1, float64(t)))), float32(1/(1-math.Pow(beta2, float64(t))))
	step := make([]float32, len(w))
	for k := range w {
		m[k] = beta1*m[k] + (1-beta1)*g[k]
		v[k] = beta2*v[k] + (1-beta2)*g[k]*g[k]
		step[k] = m[k]*c1/(sqrt32(v[k]*c2)+1e-6) + float32(decay)*w[k]
	}
	trust := 1.0
	if wn, sn := squares(w), squares(step); wn > 0 && sn > 0 {
		trust = math.Sqrt(wn / sn)
	}
	lr := float32(rate * trust)
	for k := range w {
		w[k] -= lr * step[k]
	}
}

// inParallel runs f for 0..n-1 on some threads.
func inParallel(n, threads int, f func(i int)) {
	threads = min(threadsOf(threads), n)
	var wait sync.WaitGroup
	for t := range threads {
		wait.Go(func() {
			for i := t; i < n; i += threads {
				f(i)
			}
		})
	}
	wait.Wait()
}
