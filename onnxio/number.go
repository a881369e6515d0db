package onnxio

import "google.golang.org/protobuf/encoding/protowire"

// Field numbers of onnx.proto, IR version 14, and of onnx-data.proto.
const (
	modelIRVersion       protowire.Number = 1
	modelProducer        protowire.Number = 2
	modelProducerVersion protowire.Number = 3
	modelDomain          protowire.Number = 4
	modelVersion         protowire.Number = 5
	modelDoc             protowire.Number = 6
	modelGraph           protowire.Number = 7
	modelOpset           protowire.Number = 8
	modelMetadata        protowire.Number = 14
	modelTraining        protowire.Number = 20
	modelFunction        protowire.Number = 25
	modelDevices         protowire.Number = 26

	opsetDomain  protowire.Number = 1
	opsetVersion protowire.Number = 2

	propKey   protowire.Number = 1
	propValue protowire.Number = 2

	deviceName  protowire.Number = 1
	deviceCount protowire.Number = 2
	deviceList  protowire.Number = 3

	trainingInit          protowire.Number = 1
	trainingAlgorithm     protowire.Number = 2
	trainingInitBinding   protowire.Number = 3
	trainingUpdateBinding protowire.Number = 4

	functionName      protowire.Number = 1
	functionInput     protowire.Number = 4
	functionOutput    protowire.Number = 5
	functionAttr      protowire.Number = 6
	functionNode      protowire.Number = 7
	functionDoc       protowire.Number = 8
	functionOpset     protowire.Number = 9
	functionDomain    protowire.Number = 10
	functionDefault   protowire.Number = 11
	functionValueInfo protowire.Number = 12
	functionOverload  protowire.Number = 13
	functionMetadata  protowire.Number = 14

	graphNode         protowire.Number = 1
	graphName         protowire.Number = 2
	graphInit         protowire.Number = 5
	graphDoc          protowire.Number = 10
	graphInput        protowire.Number = 11
	graphOutput       protowire.Number = 12
	graphValueInfo    protowire.Number = 13
	graphQuantization protowire.Number = 14
	graphSparseInit   protowire.Number = 15
	graphMetadata     protowire.Number = 16

	quantValue  protowire.Number = 1
	quantParams protowire.Number = 2

	valueName     protowire.Number = 1
	valueType     protowire.Number = 2
	valueDoc      protowire.Number = 3
	valueMetadata protowire.Number = 4

	nodeInput    protowire.Number = 1
	nodeOutput   protowire.Number = 2
	nodeName     protowire.Number = 3
	nodeOp       protowire.Number = 4
	nodeAttr     protowire.Number = 5
	nodeDoc      protowire.Number = 6
	nodeDomain   protowire.Number = 7
	nodeOverload protowire.Number = 8
	nodeMetadata protowire.Number = 9
	nodeDevices  protowire.Number = 10

	attrName    protowire.Number = 1
	attrFloat   protowire.Number = 2
	attrInt     protowire.Number = 3
	attrString  protowire.Number = 4
	attrTensor  protowire.Number = 5
	attrGraph   protowire.Number = 6
	attrFloats  protowire.Number = 7
	attrInts    protowire.Number = 8
	attrStrings protowire.Number = 9
	attrTensors protowire.Number = 10
	attrGraphs  protowire.Number = 11
	attrDoc     protowire.Number = 13
	attrType    protowire.Number = 14
	attrTypes   protowire.Number = 15
	attrKind    protowire.Number = 20
	attrRef     protowire.Number = 21
	attrSparse  protowire.Number = 22
	attrSparses protowire.Number = 23

	tensorDims     protowire.Number = 1
	tensorDType    protowire.Number = 2
	tensorFloats   protowire.Number = 4
	tensorInt32s   protowire.Number = 5
	tensorStrings  protowire.Number = 6
	tensorInt64s   protowire.Number = 7
	tensorName     protowire.Number = 8
	tensorRaw      protowire.Number = 9
	tensorDoubles  protowire.Number = 10
	tensorUint64s  protowire.Number = 11
	tensorDoc      protowire.Number = 12
	tensorExternal protowire.Number = 13
	tensorLocation protowire.Number = 14
	tensorMetadata protowire.Number = 16

	sparseValues  protowire.Number = 1
	sparseIndices protowire.Number = 2
	sparseDims    protowire.Number = 3

	typeTensor     protowire.Number = 1
	typeSequence   protowire.Number = 4
	typeMap        protowire.Number = 5
	typeDenotation protowire.Number = 6
	typeOpaque     protowire.Number = 7
	typeSparse     protowire.Number = 8
	typeOptional   protowire.Number = 9

	typeElem     protowire.Number = 1 // of tensor, sparse, sequence and optional; a map's key
	typeShape    protowire.Number = 2 // of tensor and sparse
	typeMapValue protowire.Number = 2
	opaqueDomain protowire.Number = 1
	opaqueName   protowire.Number = 2

	shapeDim      protowire.Number = 1
	dimValue      protowire.Number = 1
	dimParam      protowire.Number = 2
	dimDenotation protowire.Number = 3
)
