package nano

// SameOrigin is the check of WithSameOrigin.
var SameOrigin = sameOrigin
