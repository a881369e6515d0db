package op

// moves says that a quantized tensor keeps its scale.
var moves = &Quant{Class: QuantPass, Weight: -1, Bias: -1}

// tensorDefs holds operators that move, select and reshape elements.
var tensorDefs = []*Def{
	{Name: "BitCast", Since: 26, Infer: inferBitCast, Eval: evalBitCast, Axes: sameAxes, Cost: (*Infer).traffic},
	{Name: "Cast", Since: 1, Infer: inferCast, Eval: evalCast, Axes: sameAxes, Cost: (*Infer).traffic},
	{Name: "CastLike", Since: 15, Infer: inferCastLike, Eval: evalCastLike, Axes: sameAxes, Cost: (*Infer).traffic},
	{Name: "CenterCropPad", Since: 18, Infer: inferCenterCropPad, Eval: evalCenterCropPad, Quant: moves, Cost: (*Infer).traffic},
	{Name: "Compress", Since: 9, Infer: inferCompress, Eval: spread(evalCompress), Quant: moves, Cost: (*Infer).traffic},
	{Name: "Concat", Since: 1, Infer: inferConcat, Eval: spread(evalConcat), Axes: concatAxes, Quant: moves, Cost: (*Infer).traffic},
	{Name: "DepthToSpace", Since: 1, Infer: inferBlocks(true), Eval: spread(evalDepthToSpace), Axes: blockAxes(true), Quant: moves, Cost: (*Infer).traffic},
	{Name: "Expand", Since: 8, Infer: inferExpand, Eval: spread(evalExpand), Axes: expandAxes, Quant: moves, Cost: (*Infer).traffic},
	{Name: "Flatten", Since: 1, Infer: inferFlatten, Eval: evalFlatten, Axes: reshapeAxes, Quant: moves, Cost: noWork},
	{Name: "Gather", Since: 1, Infer: inferGather, Eval: spread(evalGather), Axes: gatherAxes, Quant: moves, Cost: (*Infer).traffic},
	{Name: "GatherElements", Since: 11, Infer: inferShapeOf(1), Eval: spread(evalGatherElements), Quant: moves, Cost: (*Infer).traffic},
	{Name: "GatherND", Since: 11, Infer: inferGatherND, Eval: spread(evalGatherND), Quant: moves, Cost: (*Infer).traffic},
	{Name: "Identity", Since: 1, Infer: sameType, Eval: evalIdentity, Axes: sameAxes, Quant: moves, Cost: noWork},
	{Name: "NonZero", Since: 9, Infer: inferNonZero, Eval: evalNonZero, Cost: (*Infer).traffic},
	{Name: "OneHot", Since: 9, Infer: inferOneHot, Eval: evalOneHot, Cost: (*Infer).traffic},
	{Name: "Pad", Since: 1, Infer: inferPad, Eval: spread(evalPad), Axes: padAxes, Quant: moves, Cost: (*Infer).traffic},
	{Name: "Reshape", Since: 1, Infer: inferReshape, Eval: evalReshape, Axes: reshapeAxes, Quant: moves, Cost: noWork},
	{Name: "ReverseSequence", Since: 10, Infer: inferShapeOf(0), Eval: spread(evalReverseSequence), Axes: reverseSequenceAxes, Quant: moves, Cost: (*Infer).traffic},
	{Name: "Scatter", Since: 9, Infer: inferShapeOf(0), Eval: evalScatterElements, Cost: (*Infer).traffic},
	{Name: "ScatterElements", Since: 11, Infer: inferShapeOf(0), Eval: evalScatterElements, Cost: (*Infer).traffic},
	{Name: "ScatterND", Since: 11, Infer: inferShapeOf(0), Eval: evalScatterND, Cost: (*Infer).traffic},
	{Name: "Shape", Since: 1, Infer: inferShape, Eval: evalShape, Cost: noWork},
	{Name: "Size", Since: 1, Infer: inferSize, Eval: evalSize, Cost: noWork},
	{Name: "Slice", Since: 1, Infer: inferSlice, Eval: spread(evalSlice), Axes: sliceAxes, Quant: moves, Cost: (*Infer).traffic},
	{Name: "SpaceToDepth", Since: 1, Infer: inferBlocks(false), Eval: spread(evalSpaceToDepth), Axes: blockAxes(false), Quant: moves, Cost: (*Infer).traffic},
	{Name: "Split", Since: 1, Infer: inferSplit, Eval: spread(evalSplit), Axes: splitAxes, Quant: moves, Cost: (*Infer).traffic},
	{Name: "Squeeze", Since: 1, Infer: inferSqueeze, Eval: evalSqueeze, Axes: squeezeAxes, Quant: moves, Cost: noWork},
	{Name: "TensorScatter", Since: 24, Infer: inferShapeOf(0), Eval: spread(evalTensorScatter), Cost: (*Infer).traffic},
	{Name: "Tile", Since: 1, Infer: inferTile, Eval: spread(evalTile), Axes: tileAxes, Quant: moves, Cost: (*Infer).traffic},
	{Name: "Transpose", Since: 1, Infer: inferTranspose, Eval: spread(evalTranspose), Axes: transposeAxes, Quant: moves, Cost: (*Infer).traffic},
	{Name: "Trilu", Since: 14, Infer: inferShapeOf(0), Eval: evalTrilu, Axes: triluAxes, Cost: (*Infer).traffic},
	{Name: "Unique", Since: 11, Infer: inferUnique, Eval: evalUnique, Cost: (*Infer).traffic},
	{Name: "Unsqueeze", Since: 1, Infer: inferUnsqueeze, Eval: evalUnsqueeze, Axes: unsqueezeAxes, Quant: moves, Cost: noWork},
	{Name: "Where", Since: 9, Infer: inferWhere, Eval: evalWhere, Axes: whereAxes, Quant: moves, Cost: (*Infer).traffic},
}

// noWork is the cost of operators that only rename elements or tell shapes.
func noWork(*Infer) Cost { return Cost{Known: true} }
