package onnxio

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/onnxpack/onnxpack/graph"
)

// maxInline is the size in bytes from which on a changed model does not stand
// in one file: readers written in C++ stop at 2 GB.
const maxInline = 1_500_000_000

// SaveOptions says how a model is written. The zero value leaves tensors where
// they are, in the model or outside.
type SaveOptions struct {
	// External is the number of bytes from which on a tensor is kept outside
	// the model's file. 0 means: as it was, except that a changed model of
	// more than 1.5 GB keeps tensors of 1 KiB and more outside. Negative means
	// that nothing is kept outside.
	External int

	// PerTensor gives each tensor outside a file of its own, named after it.
	// Otherwise all go to one, named after the model with ".data" added.
	PerTensor bool

	// Checksum states the SHA-1 of new external files in the model.
	Checksum bool
}

// Save writes the model to path. Files appear whole or, on an error or if ctx
// ends, not at all; they may be those that the model is mapped from.
//
// External data that the model refers to is carried along to the folder of
// path. If most of an external file is no longer used, or a different file of
// that name is there already, its tensors are moved to the model's own data.
func Save(ctx context.Context, path string, m *graph.Model, o SaveOptions) error {
	var files drafts
	err := guard(func() error {
		p, err := plan(path, m, o)
		if err == nil {
			err = p.write(ctx, &files)
		}
		if err == nil {
			err = files.commit()
		}
		return err
	})
	files.discard()
	if err != nil {
		return fmt.Errorf("saving %s: %w", path, err)
	}
	return nil
}

// Encode writes the model to w as one message, with everything inside.
func Encode(w io.Writer, m *graph.Model) error {
	return guard(func() error {
		p, err := plan("", m, SaveOptions{External: -1})
		if err != nil {
			return err
		}
		return newSink(context.Background(), w).parts(encodeModel(p.model).all())
	})
}

// write drafts the external files, then the model, which may state the
// checksums of the former.
func (p *placement) write(ctx context.Context, files *drafts) error {
	dir := filepath.Dir(p.path)
	for _, f := range p.carried {
		if err := carry(ctx, f, filepath.Join(dir, filepath.FromSlash(f.location)), files); err != nil {
			return err
		}
	}
	for _, f := range p.data {
		d, err := files.add(filepath.Join(dir, f.location))
		if err != nil {
			return err
		}
		if err := f.write(ctx, d.file, p.checksum); err != nil {
			return err
		}
	}
	d, err := files.add(p.path)
	if err != nil {
		return err
	}
	if p.message == nil {
		p.message = encodeModel(p.model)
	}
	return newSink(ctx, d.file).parts(p.message.all())
}

// carry copies an external file along.
func carry(ctx context.Context, m *mapping, path string, files *drafts) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	d, err := files.add(path)
	if err != nil {
		return err
	}
	return newSink(ctx, d.file).parts([][]byte{m.data})
}

// write writes the tensors of a data file, each at its offset.
func (f *dataFile) write(ctx context.Context, file *os.File, checksum bool) error {
	hash := sha1.New()
	var w io.Writer = file
	if checksum {
		w = io.MultiWriter(file, hash)
	}
	s := newSink(ctx, w)
	at := int64(0)
	for _, l := range f.literals {
		pad := make([]byte, l.External.Offset-at)
		if err := s.parts([][]byte{pad, l.Tensor.Bytes()}); err != nil {
			return err
		}
		at = l.External.Offset + l.External.Length
	}
	if checksum {
		for _, l := range f.literals {
			l.External.Checksum = hex.EncodeToString(hash.Sum(nil))
		}
	}
	return nil
}
