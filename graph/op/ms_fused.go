package op

// msFusedDefs holds fused and other operators of com.microsoft.
var msFusedDefs = []*Def{}
