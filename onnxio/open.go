package onnxio

import (
	"fmt"
	"path/filepath"

	"github.com/onnxpack/onnxpack/graph"
)

// OpenOptions says how a model is read. The zero value is the usual way.
type OpenOptions struct {
	// Dir is the folder that external data lies in. Open uses the model's own
	// folder where Dir is empty; Decode then refuses external data.
	Dir string

	// Checksum compares each external file with the SHA-1 that the model
	// states for it, where it states one.
	Checksum bool
}

// File is an opened model. Its tensors and Wire fields are spans of mapped
// files, which Close takes away: the model must not be used after that.
type File struct {
	Model *graph.Model

	folder *folder
	main   *mapping
}

// Open maps the file at path, and the external data that it refers to, and
// decodes the model. Errors begin with the path.
func Open(path string, o OpenOptions) (*File, error) {
	if o.Dir == "" {
		o.Dir = filepath.Dir(path)
	}
	f := &File{folder: newFolder(o)}
	if err := f.open(path); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func (f *File) open(path string) error {
	m, err := mapFile(path)
	if err != nil {
		return err
	}
	f.main = m
	m.folder = f.folder
	m.advise(randomAccess)
	defer m.advise(normalAccess)
	return guard(func() (err error) {
		d := decoder{external: f.folder.elements}
		f.Model, err = d.model(m.data)
		return err
	})
}

// Close unmaps the model's files.
func (f *File) Close() error {
	err := f.folder.close()
	if f.main != nil {
		if e := f.main.close(); err == nil {
			err = e
		}
		f.main = nil
	}
	return err
}

// Decode reads a model from memory, which its tensors and Wire fields go on
// sharing. External data is read into memory from o.Dir.
func Decode(data []byte, o OpenOptions) (*graph.Model, error) {
	d := decoder{}
	if o.Dir != "" {
		d.external = newFolder(o).load
	}
	return d.model(data)
}
