package nano

// SameOrigin is what WithSameOrigin asks of a request.
var SameOrigin = sameOrigin
