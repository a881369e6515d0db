package main

import (
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/onnxio"
)

func copyCommand() *cli.Command {
	return &cli.Command{
		Name:      "copy",
		Usage:     "open a model and save it",
		ArgsUsage: "IN OUT",
		Category:  catLook,
		Description: `Untouched parts are written as they were: without options the bytes of OUT are
those of IN. External data comes along; --external moves big tensors into a
file of their own, --internal moves them into the model.`,
		Flags:  externalFlags(),
		Action: copyModel,
	}
}

// copyResult is the JSON of copy.
type copyResult struct {
	In       string `json:"in"`
	Out      string `json:"out"`
	InBytes  int64  `json:"in_bytes"`
	OutBytes int64  `json:"out_bytes"`
}

func copyModel(c *cli.Context) error {
	args, err := operands(c, "IN", "OUT")
	if err != nil {
		return err
	}
	save, err := saveOptions(c)
	if err != nil {
		return err
	}
	f, err := onnxio.Open(args[0], onnxio.OpenOptions{Checksum: c.Bool("verify-checksums")})
	if err != nil {
		return err
	}
	defer f.Close()
	if err := onnxio.Save(c.Context, args[1], f.Model, save); err != nil {
		return err
	}
	r := copyResult{In: args[0], Out: args[1], InBytes: modelBytes(args[0], f), OutBytes: fileBytes(args[1])}
	return emit(c, r, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s\n", r.Out, bytesText(r.OutBytes))
	})
}

func fileBytes(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
