package onnxio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
)

const (
	smallOutside = 1 << 10  // bytes of the smallest tensor that is moved outside unasked
	bigTensor    = 64 << 10 // bytes from which on a tensor starts on a page
	pageSize     = 4 << 10
	wordSize     = 16
)

// placement says where a model and its tensors are written.
type placement struct {
	path     string
	model    *graph.Model // a copy if literals were moved
	message  *message     // the encoded model, if it is known already
	carried  []*mapping   // external files that are copied as they are
	data     []*dataFile  // external files that are made
	checksum bool

	kept []keptLiteral
}

// dataFile is an external file that is made: literals in order of their
// offsets.
type dataFile struct {
	location string
	size     int64
	literals []*graph.Literal
}

// keptLiteral is a literal whose elements are still where its External says.
type keptLiteral struct {
	lit  *graph.Literal
	file *mapping
}

// plan decides where the model's tensors go, and says so in their External.
func plan(path string, m *graph.Model, o SaveOptions) (*placement, error) {
	p := &placement{path: path, model: m, checksum: o.Checksum}
	lits, outside := denseLiterals(m)
	if o.External == 0 && !outside {
		p.message = encodeModel(m)
		if p.message.size <= maxInline || modelUnchanged(m) {
			return p, nil
		}
	}
	p.model, p.message = m.Clone(), nil
	lits, _ = denseLiterals(p.model)
	p.settle(lits)
	if err := p.carry(o); err != nil {
		return nil, err
	}
	p.move(lits, o)
	return p, nil
}

// namedLiteral is a dense literal with the name that it has in the model.
type namedLiteral struct {
	name string
	*graph.Literal
}

// denseLiterals lists every dense literal of the model whose elements could
// stand outside it, and reports whether any does.
func denseLiterals(m *graph.Model) (list []namedLiteral, outside bool) {
	add := func(name string, l *graph.Literal) {
		if l.Sparse == nil && l.Tensor.DType().Bits() > 0 {
			list = append(list, namedLiteral{name, l})
			outside = outside || l.External != nil
		}
	}
	for _, g := range modelGraphs(m) {
		eachLiteral(g, add)
	}
	for _, f := range m.Functions {
		for _, a := range f.Defaults {
			attrLiterals(a, add)
		}
	}
	return list, outside
}

func modelGraphs(m *graph.Model) []*graph.Graph {
	list := []*graph.Graph{m.Graph}
	for _, f := range m.Functions {
		list = append(list, f.Body)
	}
	for _, t := range m.Training {
		list = append(list, t.Init, t.Algorithm)
	}
	return slices.DeleteFunc(list, func(g *graph.Graph) bool { return g == nil })
}

// eachLiteral gives the literals of g and of the graphs inside it.
func eachLiteral(g *graph.Graph, add func(string, *graph.Literal)) {
	for _, v := range g.Inits() {
		add(v.Name(), v.Init)
	}
	for n := range g.Nodes() {
		for _, a := range n.Attrs() {
			attrLiterals(a, add)
		}
	}
}

func attrLiterals(a *graph.Attr, add func(string, *graph.Literal)) {
	for _, l := range a.Literals {
		add(l.Name, l)
	}
	for _, g := range a.Graphs {
		eachLiteral(g, add)
	}
}

// settle finds the literals whose elements are where their External says, and
// takes External from those whose elements are not.
func (p *placement) settle(lits []namedLiteral) {
	for _, l := range lits {
		if l.External == nil {
			continue
		}
		m, off := findMapping(l.Tensor.Bytes())
		if m != nil && m.location == l.External.Location && off == l.External.Offset {
			p.kept = append(p.kept, keptLiteral{l.Literal, m})
		} else {
			l.External = nil
		}
	}
}

// carry decides which external files go along as they are. Kept literals of
// the others lose their External, which marks them for moving.
func (p *placement) carry(o SaveOptions) error {
	used := map[*mapping]int{}
	for _, k := range p.kept {
		used[k.file] += k.lit.Tensor.Size()
	}
	if o.External != 0 {
		clear(used)
	}
	stays := map[*mapping]bool{}
	for m, n := range used {
		there, err := p.standing(m)
		if err != nil {
			return err
		}
		switch {
		case there == sameFile:
			stays[m] = true
		case there == otherFile || 2*n < len(m.data):
		default:
			stays[m] = true
			if there == noFile {
				p.carried = append(p.carried, m)
			}
		}
	}
	for i := range p.kept {
		if !stays[p.kept[i].file] {
			p.kept[i].lit.External = nil
		}
	}
	slices.SortFunc(p.carried, func(a, b *mapping) int { return strings.Compare(a.location, b.location) })
	return nil
}

// standing says what is at an external file's place in the target folder.
type standing int

const (
	noFile    standing = iota
	sameFile           // the mapped file itself
	equalFile          // another with the same contents
	otherFile
)

func (p *placement) standing(m *mapping) (standing, error) {
	path := filepath.Join(filepath.Dir(p.path), filepath.FromSlash(m.location))
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return noFile, nil
	case err != nil:
		return noFile, err
	case !info.Mode().IsRegular():
		return otherFile, nil
	}
	if m.file != nil {
		mine, err := m.file.Stat()
		if err != nil {
			return noFile, err
		}
		if os.SameFile(info, mine) {
			return sameFile, nil
		}
	}
	return m.compare(path, info.Size())
}

func (m *mapping) compare(path string, size int64) (standing, error) {
	if size != int64(len(m.data)) {
		return otherFile, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return noFile, err
	}
	defer f.Close()
	same, err := sameContents(f, m.reader(0, size))
	if err != nil {
		return noFile, err
	}
	if !same {
		return otherFile, nil
	}
	return equalFile, nil
}

// sameContents reports whether two readers of the same length give the same.
func sameContents(a, b io.Reader) (bool, error) {
	bufA, bufB := make([]byte, 1<<18), make([]byte, 1<<18)
	for {
		n, errA := io.ReadFull(a, bufA)
		k, errB := io.ReadFull(b, bufB)
		switch {
		case n != k || !bytes.Equal(bufA[:n], bufB[:k]):
			return false, nil
		case errA == io.EOF || errA == io.ErrUnexpectedEOF:
			return true, nil
		case errA != nil || errB != nil:
			return false, errors.Join(errA, errB)
		}
	}
}

// move gives places in new data files to the literals that ask for one: by
// their size, or because they were outside and cannot stay where they were.
func (p *placement) move(lits []namedLiteral, o SaveOptions) {
	moving := p.wanted(lits, o)
	if o.External == 0 && p.inlineSize(lits, moving) > maxInline {
		moving = atLeast(lits, smallOutside, moving)
	}
	if len(moving) == 0 {
		return
	}
	taken := map[string]bool{filepath.Base(p.path): true}
	for _, k := range p.kept {
		if k.lit.External != nil {
			taken[k.lit.External.Location] = true
		}
	}
	for _, l := range lits {
		if moving[l.Literal] {
			p.dataFor(l.name, o, taken).add(l.Literal)
		}
	}
}

// wanted returns the literals that the options move.
func (p *placement) wanted(lits []namedLiteral, o SaveOptions) map[*graph.Literal]bool {
	moving := map[*graph.Literal]bool{}
	if o.External > 0 {
		return atLeast(lits, o.External, moving)
	}
	if o.External == 0 {
		for _, k := range p.kept {
			if k.lit.External == nil && k.lit.Tensor.Size() >= smallOutside {
				moving[k.lit] = true
			}
		}
	}
	return moving
}

// atLeast adds the literals of at least n bytes that are in the model.
func atLeast(lits []namedLiteral, n int, moving map[*graph.Literal]bool) map[*graph.Literal]bool {
	for _, l := range lits {
		if l.External == nil && l.Tensor.Size() >= n {
			moving[l.Literal] = true
		}
	}
	return moving
}

// inlineSize returns how many bytes of elements stay in the model.
func (p *placement) inlineSize(lits []namedLiteral, moving map[*graph.Literal]bool) int {
	n := 0
	for _, l := range lits {
		if l.External == nil && !moving[l.Literal] {
			n += l.Tensor.Size()
		}
	}
	return n
}

// dataFor returns the data file for a literal. Names that are taken are
// avoided, those of files that stay among them.
func (p *placement) dataFor(name string, o SaveOptions, taken map[string]bool) *dataFile {
	base := filepath.Base(p.path)
	if o.PerTensor {
		base += "." + fileName(name)
	} else if len(p.data) > 0 {
		return p.data[0]
	}
	location := base + ".data"
	for i := 1; taken[location]; i++ {
		location = fmt.Sprintf("%s.%d.data", base, i)
	}
	taken[location] = true
	f := &dataFile{location: location}
	p.data = append(p.data, f)
	return f
}

// fileName makes a tensor's name fit for a file's.
func fileName(name string) string {
	const longest = 100
	name = strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
			return r
		}
		return '_'
	}, name)
	return name[:min(len(name), longest)]
}

// add places a literal at the end of the file. Big tensors start on a page,
// so that readers can map them; others on a word.
func (f *dataFile) add(l *graph.Literal) {
	n := int64(len(l.Tensor.Bytes()))
	align := int64(wordSize)
	if n >= bigTensor {
		align = pageSize
	}
	offset := (f.size + align - 1) / align * align
	l.External = &graph.External{Location: f.location, Offset: offset, Length: n}
	f.size = offset + n
	f.literals = append(f.literals, l)
}
