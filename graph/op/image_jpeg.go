package op

import "image"

// jpegColors converts a decoded JPEG as libjpeg does, whose results ONNX's
// vectors hold: subsampled chroma is interpolated with weights 3/4 and 1/4
// toward the nearer samples ("fancy upsampling", jdsample.c), and YCbCr
// becomes RGB in 16-bit fixed point (jdcolor.c).
func jpegColors(m *image.YCbCr) *image.NRGBA {
	b := m.Bounds()
	out := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	cb, cr := upsampled(m, m.Cb), upsampled(m, m.Cr)
	for y := range b.Dy() {
		luma := m.Y[m.YOffset(b.Min.X, b.Min.Y+y):]
		for x := range b.Dx() {
			i := y*b.Dx() + x
			r, g, bl := ycc(int32(luma[x]), int32(cb[i])-128, int32(cr[i])-128)
			out.Pix[4*i], out.Pix[4*i+1], out.Pix[4*i+2], out.Pix[4*i+3] = r, g, bl, 255
		}
	}
	return out
}

// ycc converts a color; cb and cr are centered on zero.
func ycc(y, cb, cr int32) (r, g, b uint8) {
	const half = 1 << 15 // the factors are 1.402, 1.772, 0.714136 and 0.344136 in 16 bits
	return clampByte(y + (91881*cr+half)>>16),
		clampByte(y + (-22554*cb-46802*cr+half)>>16),
		clampByte(y + (116130*cb+half)>>16)
}

func clampByte(x int32) uint8 { return uint8(max(0, min(255, x))) }

// upsampled returns a chroma plane at the size of the luma, row by row.
func upsampled(m *image.YCbCr, plane []uint8) []uint8 {
	b := m.Bounds()
	w, h := b.Dx(), b.Dy()
	dx, dy := 1, 1
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		dx = 2
	case image.YCbCrSubsampleRatio420:
		dx, dy = 2, 2
	case image.YCbCrSubsampleRatio440:
		dy = 2
	case image.YCbCrSubsampleRatio411:
		dx = 4
	case image.YCbCrSubsampleRatio410:
		dx, dy = 4, 2
	}
	cw, ch := (w+dx-1)/dx, (h+dy-1)/dy
	row := func(y int) []uint8 { return plane[max(0, min(ch-1, y))*m.CStride:][:cw] }
	out := make([]uint8, w*h)
	line := make([]int32, cw)
	for y := range h {
		dst := out[y*w : (y+1)*w]
		near := row(y / dy)
		switch {
		case dx == 2 && dy == 2 && cw > 2:
			far := row(y/2 - 1 + y%2*2)
			for i := range line {
				line[i] = 3*int32(near[i]) + int32(far[i])
			}
			doubled(dst, line, 4, 8, 7)
		case dx == 2 && dy == 1 && cw > 2:
			for i := range line {
				line[i] = int32(near[i])
			}
			doubled(dst, line, 2, 1, 2)
		default:
			for x := range dst {
				dst[x] = near[x/dx]
			}
		}
	}
	return out
}

// doubled doubles a line of samples: each gives two, weighted 3 to 1 with
// the neighbour on that side, and shifted down by bits after the rounding
// terms of left and right results are added. The outermost results are the
// samples themselves.
func doubled(dst []uint8, line []int32, bits uint, left, right int32) {
	last := len(line) - 1
	for x := range dst {
		i := x / 2
		near, v := line[i], int32(0)
		switch {
		case x == 0:
			v = 4*near + left
		case x == 2*last+1:
			v = 4*near + right
		case x%2 == 0:
			v = 3*near + line[i-1] + left
		default:
			v = 3*near + line[i+1] + right
		}
		dst[x] = uint8(v >> bits)
	}
}
