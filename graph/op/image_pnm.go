package op

import (
	"fmt"
	"image"
	"image/color"
)

// pnm reads the portable anymap formats: P1 to P6, bits, gray values or
// colors, as text or bytes. (netpbm.sourceforge.net/doc)
type pnm struct {
	data          []byte
	kind          byte // '1' to '6'
	width, height int
	most          int
}

// isPNM reports whether data begins as a portable anymap does.
func isPNM(data []byte) bool {
	return len(data) > 2 && data[0] == 'P' && data[1] >= '1' && data[1] <= '6'
}

// decodePNM reads an image of at most limit pixels.
func decodePNM(data []byte, limit int) (image.Image, error) {
	p := &pnm{data: data[2:], kind: data[1], most: 1}
	for _, to := range []*int{&p.width, &p.height, &p.most} {
		if to == &p.most && (p.kind == '1' || p.kind == '4') {
			continue
		}
		var err error
		if *to, err = p.number(); err != nil {
			return nil, err
		}
	}
	if p.width < 1 || p.height < 1 || p.width > limit/p.height || p.most < 1 || p.most > 65535 {
		return nil, fmt.Errorf("anymap of %dx%d pixels up to %d", p.width, p.height, p.most)
	}
	if p.kind >= '4' && len(p.data) > 0 {
		p.data = p.data[1:] // the one space after the header
	}
	return p.pixels()
}

// number reads the next number, past spaces and comments.
func (p *pnm) number() (int, error) {
	comment := false
	for len(p.data) > 0 {
		c := p.data[0]
		if !comment && c >= '0' && c <= '9' {
			break
		}
		comment = (comment || c == '#') && c != '\n'
		p.data = p.data[1:]
	}
	n, digits := 0, 0
	for ; digits < len(p.data) && p.data[digits] >= '0' && p.data[digits] <= '9'; digits++ {
		if n = n*10 + int(p.data[digits]-'0'); n > 1<<24 {
			return 0, fmt.Errorf("anymap with a number beyond %d", 1<<24)
		}
	}
	p.data = p.data[digits:]
	if digits == 0 {
		return 0, fmt.Errorf("anymap ends early")
	}
	return n, nil
}

func (p *pnm) pixels() (image.Image, error) {
	img := image.NewNRGBA(image.Rect(0, 0, p.width, p.height))
	for y := range p.height {
		for x := range p.width {
			c, err := p.pixel(x)
			if err != nil {
				return nil, err
			}
			img.SetNRGBA(x, y, c)
		}
	}
	return img, nil
}

// pixel reads the pixel of column x.
func (p *pnm) pixel(x int) (color.NRGBA, error) {
	switch p.kind {
	case '1', '4':
		bit, err := p.bit(x)
		v := uint8(255 * (1 - bit))
		return color.NRGBA{v, v, v, 255}, err
	case '2', '5':
		v, err := p.sample()
		return color.NRGBA{v, v, v, 255}, err
	}
	var v [3]uint8
	for i := range v {
		var err error
		if v[i], err = p.sample(); err != nil {
			return color.NRGBA{}, err
		}
	}
	return color.NRGBA{v[0], v[1], v[2], 255}, nil
}

// sample reads a value and scales it to a byte.
func (p *pnm) sample() (uint8, error) {
	v, err := 0, error(nil)
	width := 1
	if p.most > 255 {
		width = 2
	}
	switch {
	case p.kind < '4':
		v, err = p.number()
	case len(p.data) < width:
		err = fmt.Errorf("anymap ends early")
	default:
		for _, b := range p.data[:width] {
			v = v<<8 | int(b)
		}
		p.data = p.data[width:]
	}
	return uint8((min(v, p.most)*255 + p.most/2) / p.most), err
}

// bit reads a bit of a bitmap: a digit, or one of a byte whose rows begin
// anew.
func (p *pnm) bit(x int) (int, error) {
	if p.kind == '1' {
		for len(p.data) > 0 && p.data[0] != '0' && p.data[0] != '1' {
			p.data = p.data[1:]
		}
	}
	if len(p.data) == 0 {
		return 0, fmt.Errorf("anymap ends early")
	}
	b := p.data[0]
	if p.kind == '1' {
		p.data = p.data[1:]
		return int(b - '0'), nil
	}
	if x%8 == 7 || x == p.width-1 {
		p.data = p.data[1:]
	}
	return int(b >> (7 - x%8) & 1), nil
}
