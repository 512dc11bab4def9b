package main

import (
	"context"
	"fmt"

	"github.com/deltran/deltran-bus/bootstrap"
	"github.com/urfave/cli/v2"
)

func planFlags() []cli.Flag { return remoteFlags() }

func applyFlags() []cli.Flag {
	return remoteFlags(
		&cli.BoolFlag{Name: "allow-data-loss", Usage: "also make changes that delete, skip or repeat messages"},
		&cli.BoolFlag{Name: "allow-irreversible", Usage: "also make changes that cannot be taken back"},
	)
}

// look is what separates JetStream from the declaration, weighed.
func look(ctx context.Context, r *remote) (bootstrap.Plan, error) {
	have, err := bootstrap.Observe(ctx, r.js)
	if err != nil {
		return bootstrap.Plan{}, noJetStream(err)
	}
	have.Limits = r.limits
	plan := bootstrap.Diff(r.cfg.Streams, have)
	return plan, bootstrap.Weigh(ctx, r.js, plan)
}

func plan(c *cli.Context, r *remote) error {
	p, err := look(c.Context, r)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = writeJSON(c.App.Writer, p)
	} else {
		err = p.WriteText(c.App.Writer)
		fmt.Fprint(c.App.ErrWriter, next(advice(p)))
	}
	if err == nil && !p.Empty() {
		return errDifferent
	}
	return err
}

// applied is what apply --json prints.
type applied struct {
	Done bootstrap.Plan `json:"done"`
	Left bootstrap.Plan `json:"left"`
}

func apply(c *cli.Context, r *remote) (err error) {
	allow := bootstrap.Allow{DataLoss: c.Bool("allow-data-loss"), Irreversible: c.Bool("allow-irreversible")}
	var out applied
	// Somebody else may be changing the same: look again until there is nothing left to do.
	for round := 0; ; round++ {
		if out.Left, err = look(c.Context, r); err != nil {
			return err
		}
		if out.Left.Doable(allow).Empty() || round == 5 {
			break
		}
		done, err := bootstrap.Apply(c.Context, r.js, out.Left, allow)
		out.Done.Changes = append(out.Done.Changes, done.Changes...)
		if err != nil {
			return fmt.Errorf("%w\n%s done before; look again with deltran-bus plan", err, count(len(out.Done.Changes), "change"))
		}
	}
	if c.Bool("json") {
		err = writeJSON(c.App.Writer, out)
	} else {
		err = writeApplied(c.App.Writer, out)
		fmt.Fprint(c.App.ErrWriter, next(adviceOnHeld(out.Left)))
	}
	if err == nil && !out.Left.Empty() {
		return errDifferent
	}
	return err
}
