// Package serialize declares the serializers, which turn payloads into values and back.
//
// Packages json and protobuf implement the two that come with the library. A server uses protobuf
// unless nano.WithSerializer gives it another one. A program may bring its own: [Serializer] needs
// two methods; [AppendMarshaler], [InputCopier] and [TypeChecker] are optional. All methods are
// called concurrently.
//
//	srv := nano.New(nano.WithSerializer(json.NewSerializer()))
//
// A serializer sees the payload of one message and nothing else. A payload given as []byte does
// not reach the serializer: it is sent and received as it is.
package serialize
