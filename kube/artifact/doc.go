// Package artifact is the room of the bytes of models: it pulls, pushes and verifies what the URI of a version names, in
// object stores, registries, volumes, files and on the web.
//
// Each place is a store that gives bytes from an offset on, and everything else is done once for all of them: bytes are
// hashed while they stream, a broken connection is taken up where it broke, what is half there waits under another name,
// and a file or folder gets its name only when its digest is the one that was asked for. A folder is the bytes of one tar
// with nothing in it but names and contents, in the order of the names, so that it has a digest like a file.
package artifact
