// Package pipeline declares the hooks that see every message of a server.
//
// Inbound hooks run before the payload of a request or notify is decoded; outbound hooks run before
// a response or push is sent. A hook may change a message, or refuse it with an error:
//
//	p := pipeline.New()
//	p.Inbound().PushBack(func(s *session.Session, msg *pipeline.Message) error {
//		if s.UID() == 0 && msg.Route != "Auth.Login" {
//			return errors.New("log in first")
//		}
//		return nil
//	})
//	nano.Listen(":3250", nano.WithPipeline(p))
//
// Hooks can be added while the server runs. A message that is on its way may miss a new hook.
package pipeline
