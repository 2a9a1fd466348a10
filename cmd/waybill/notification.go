package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/internal/id"
	"waybill/subjects"
)

func (p *program) notification() *cobra.Command {
	return group("notification", "See what customers were told", "", "  waybill notification list --status failed",
		p.notificationList(), p.notificationRedeliver())
}

func (p *program) notificationList() *cobra.Command {
	var order, status string
	var page *subjects.Page
	c := question[*subjects.Notifications]{
		use: "list", short: "List notifications, newest first", example: "  waybill notification list --order o-1",
		ask: func(ctx context.Context, c *client.Client, _ []string) (*subjects.Notifications, error) {
			return c.Notifications.List(ctx, subjects.ListNotificationsRequest{Page: *page, OrderID: id.Order(order), Status: status})
		},
		show: func(s *sheet, l *subjects.Notifications) {
			rows := make([][]string, len(l.Notifications))
			for i, n := range l.Notifications {
				rows[i] = []string{string(n.NotificationID), n.Event, n.Channel, s.status(n.Status), strconv.Itoa(n.Tries), s.when(n.UpdatedAt), short(n.Error, 40)}
			}
			s.table([]string{"notification", "event", "channel", "status", right + "tries", "changed", "error"}, rows)
			s.more(l.NextCursor)
		},
	}.command(p)
	c.Flags().StringVar(&order, "order", "", "only those of this order")
	c.Flags().StringVar(&status, "status", "", "only those of this status: queued, delivered, failed, dead")
	page = pageFlags(c.Flags())
	return c
}

func (p *program) notificationRedeliver() *cobra.Command {
	return question[*subjects.NotificationInfo]{
		use: "redeliver NOTIFICATION", short: "Send a notification again",
		example: "  waybill notification redeliver o-1-confirmed", args: exactly("NOTIFICATION"),
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.NotificationInfo, error) {
			return c.Notifications.Redeliver(ctx, id.Notification(args[0]))
		},
		show: func(s *sheet, n *subjects.NotificationInfo) {
			s.facts("notification", s.paint(bold, string(n.NotificationID)), "order", string(n.OrderID), "event", n.Event, "channel", n.Channel,
				"status", s.status(n.Status), "tries", strconv.Itoa(n.Tries), "error", n.Error, "changed", s.when(n.UpdatedAt))
		},
	}.command(p)
}
