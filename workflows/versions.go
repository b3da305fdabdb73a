package workflows

// Every change of a workflow that alters the commands of histories already recorded sits
// behind a function in this file that calls workflow.GetVersion, named after what changed.
// There is none yet: the histories in testdata/histories are of the first version.
