// Package bot plays a server's game with players that are Go functions: in tests, where
// package nanotest runs them in memory and in fake time, and as load, where nano bench
// runs them against a real server.
//
//	func Walk(ctx context.Context, p *bot.Player) error {
//		if err := p.Request(ctx, "world.enter", nil, nil); err != nil {
//			return err
//		}
//		for ctx.Err() == nil {
//			if err := p.Notify("world.step", Step{p.Rand.IntN(4)}); err != nil {
//				return err
//			}
//			bot.Pause(ctx, 200*time.Millisecond)
//		}
//		return nil
//	}
package bot
