package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/targets"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:     "version",
		Usage:    "print the version, the platform and the CPU",
		Category: catAbout,
		Action: func(c *cli.Context) error {
			if _, err := operands(c); err != nil {
				return err
			}
			v := versionInfo()
			return emit(c, v, func(w io.Writer) {
				fmt.Fprintf(w, "onnxpack %s %s/%s %s\n%s, target %s\n", v.Version, v.OS, v.Arch, v.Go, v.CPU, v.Target)
			})
		},
	}
}

type version struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	CPU     string `json:"cpu"`
	Target  string `json:"target"`
}

func versionInfo() version {
	v := version{Version: "devel", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		CPU: targets.Brand(), Target: targets.Host().Name}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	return v
}

func targetsCommand() *cli.Command {
	return &cli.Command{
		Name:     "targets",
		Usage:    "list the CPU profiles that a model can be made for",
		Category: catAbout,
		Action:   listTargets,
	}
}

type targetRow struct {
	Name        string   `json:"name"`
	Doc         string   `json:"doc"`
	Arch        string   `json:"arch"`
	Features    []string `json:"features"`
	VectorBytes int      `json:"vector_bytes"`
	Saturates   bool     `json:"saturates"`
	PeakF32     float64  `json:"peak_f32_macs_per_cycle"`
	PeakInt8    float64  `json:"peak_int8_macs_per_cycle"`
	Runs        bool     `json:"runs_here"`
	Host        bool     `json:"host"`
}

func listTargets(c *cli.Context) error {
	if _, err := operands(c); err != nil {
		return err
	}
	host := targets.Host()
	var rows []targetRow
	for _, t := range targets.All() {
		_, err := t.Kernels()
		rows = append(rows, targetRow{
			Name: t.Name, Doc: t.Doc, Arch: t.Arch, Features: t.Features, VectorBytes: t.VectorBytes,
			Saturates: t.Saturates, PeakF32: t.Peak.F32, PeakInt8: t.Peak.Int8, Runs: err == nil, Host: t.Name == host.Name,
		})
	}
	return emit(c, rows, func(w io.Writer) {
		tab := newTable(w, "target", "runs here", "vector", "f32/cycle", "int8/cycle", "", "")
		for _, r := range rows {
			note := ""
			if r.Saturates {
				note = "u8*s8 saturates"
			}
			tab.AppendRow([]any{r.Name, yesNo(r.Runs), fmt.Sprintf("%d bit", 8*r.VectorBytes), r.PeakF32, r.PeakInt8, note, r.Doc})
		}
		tab.Render()
		fmt.Fprintf(w, "\nThis is a %s.\n", targets.Brand())
	})
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func dataCommand() *cli.Command {
	return &cli.Command{
		Name:     "data",
		Usage:    "explain how data is given (--data, --calib)",
		Category: catAbout,
		Action: func(c *cli.Context) error {
			if _, err := operands(c); err != nil {
				return err
			}
			return emit(c, dataset.Presets(), func(w io.Writer) { fmt.Fprint(w, dataHelp()) })
		},
	}
}

func dataHelp() string {
	var b strings.Builder
	b.WriteString(`Data is kind:path, perhaps followed by ?key=value&key=value.

  images:DIR            jpeg and png; classes from labels.tsv (file, class_index) or one folder per class
  cifar10:FILE          CIFAR-10 binary records
  idx:IMAGES+LABELS     MNIST's format, gzipped or not
  npz:FILE, npy:FILE    NumPy arrays named like the inputs; labels, label or y are classes
  pb:DIR                ONNX test data, test_data_set_*/input_*.pb
  csv:FILE              a sample in each row; label=first|last|none|HEADER
  random:N              N samples shaped by the model's inputs; a size that the model
                        leaves open is a key: its name, or INPUT.AXIS

Keys for all:    range=FROM:TO, input=NAME, labels=FILE, offset=N (added to classes)
Keys for images: preset, size, resize, crop (pixels), mean, std, scale, order=rgb|bgr, layout=NCHW|NHWC
A value is (pixel*scale - mean)/std with pixels of 0..255.

Presets:
`)
	for _, p := range dataset.Presets() {
		fmt.Fprintf(&b, "  %s  %s\n", text.Pad(p[0], 20, ' '), p[1])
	}
	return b.String()
}
