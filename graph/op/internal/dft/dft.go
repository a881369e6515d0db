// Package dft transforms single signals. It knows slices only.
package dft

import (
	"math/cmplx"

	"gonum.org/v1/gonum/dsp/fourier"
)

// Plan is a discrete Fourier transform of a given length, which is at least 1:
//
//	forward: y[k] = sum over j of x[j] * e^(-2πi jk/Length)
//	inverse: y[k] = 1/Length * sum over j of x[j] * e^(2πi jk/Length)
//
// A one-sided forward transform gives the first Length/2+1 values; a
// one-sided inverse takes those of a real signal, and gives the signal.
type Plan struct {
	Length            int
	Inverse, Onesided bool

	fft *fourier.CmplxFFT
	seq []complex128
}

// Out returns how many values a transform gives.
func (p *Plan) Out() int {
	if p.Onesided && !p.Inverse {
		return p.Length/2 + 1
	}
	return p.Length
}

// OutParts returns how many numbers make one value of a result: 1 for a real
// signal, 2 for real and imaginary part.
func (p *Plan) OutParts() int {
	if p.Onesided && p.Inverse {
		return 1
	}
	return 2
}

// Transform writes the transform of src, whose values have the given number
// of parts, to dst, which holds Out()*OutParts() numbers. A source that is too
// long is cut, one that is too short goes on with zeros.
func (p *Plan) Transform(dst, src []float64, parts int) {
	if p.fft == nil {
		p.fft = fourier.NewCmplxFFT(p.Length)
		p.seq = make([]complex128, p.Length)
	}
	p.load(src, parts)
	scale := 1.0
	if p.Inverse {
		p.seq = p.fft.Sequence(p.seq, p.seq)
		scale /= float64(p.Length)
	} else {
		p.seq = p.fft.Coefficients(p.seq, p.seq)
	}
	for i, v := range p.seq[:p.Out()] {
		if p.OutParts() == 1 {
			dst[i] = scale * real(v)
			continue
		}
		dst[2*i], dst[2*i+1] = scale*real(v), scale*imag(v)
	}
}

// load fills the sequence from src; a one-sided spectrum is completed by its
// mirrored conjugate.
func (p *Plan) load(src []float64, parts int) {
	clear(p.seq)
	mirror := p.Inverse && p.Onesided
	n := min(len(src)/parts, p.Length)
	if mirror {
		n = min(n, p.Length/2+1)
	}
	for j := range n {
		v := complex(src[j*parts], 0)
		if parts == 2 {
			v = complex(src[2*j], src[2*j+1])
		}
		k := (p.Length - j) % p.Length
		switch {
		case mirror && k == j:
			v = complex(real(v), 0)
		case mirror:
			p.seq[k] = cmplx.Conj(v)
		}
		p.seq[j] = v
	}
}
