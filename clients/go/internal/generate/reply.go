package main

import (
	"log"
	"reflect"
)

// list is what repeats in a reply, as a field of Go.
type list struct {
	name   string
	fields []field
	times  string
}

func listOf(each repeated) list {
	switch {
	case each.Times != "":
		return list{goName(each.Times), each.Fields, each.Times}
	case len(each.Fields) == 1:
		return list{plural(goName(each.Fields[0].Name)), each.Fields, ""}
	default:
		return list{"Rows", each.Fields, ""}
	}
}

func (of written) elementType(each list) string {
	if len(each.fields) == 1 {
		return goType(each.fields[0])
	}
	return of.name + "Row"
}

// shapes are the forms of all replies of the operation, its needs among them.
func (of written) shapes() []reply {
	shapes := append([]reply(nil), of.operation.Replies...)
	for _, each := range of.operation.Needs {
		shapes = append(shapes, reply{Word: "need", Fields: each.Fields, Rest: each.Rest})
	}
	return shapes
}

func (of written) counted(shape reply) map[string]bool {
	counted := map[string]bool{}
	for _, each := range shape.Rest {
		counted[each.Times] = true
	}
	return counted
}

func (of written) writeReply() {
	out, seen := of.out, map[string]bool{}
	var rows []field
	out.line("\n// %sReply is what %s answers.", of.name, of.stem)
	out.line("type %sReply struct {", of.name)
	out.line("Outcome")
	for _, shape := range of.shapes() {
		if isRefusal(shape.Word) && shape.Word != "need" {
			continue
		}
		counted := of.counted(shape)
		for _, each := range append(append([]field(nil), shape.Fields...), shape.Optional...) {
			if !counted[each.Name] && !seen[each.Name] {
				seen[each.Name] = true
				out.line("%s %s `wire:%s`", goName(each.Name), goType(each), quoted(each.Name))
			}
		}
		for _, each := range shape.Rest {
			list := listOf(each)
			if len(list.fields) > 1 {
				if rows != nil && !reflect.DeepEqual(rows, list.fields) {
					log.Fatalf("%s has two kinds of rows", of.stem)
				}
				rows = list.fields
			}
			if !seen["rest "+list.name] {
				seen["rest "+list.name] = true
				out.line("%s []%s", list.name, of.elementType(list))
			}
		}
	}
	out.line("}")
	out.line("\n// Said is what every reply has.")
	out.line("func (reply *%sReply) Said() *Outcome { return &reply.Outcome }", of.name)
	if rows != nil {
		out.line("\n// %sRow is one of those that a reply of %s lists.", of.name, of.stem)
		out.line("type %sRow struct {", of.name)
		for _, each := range rows {
			out.line("%s %s `wire:%s`", goName(each.Name), goType(each), quoted(each.Name))
		}
		out.line("}")
	}
}

func (of written) writeReading() {
	out := of.out
	out.line("\n// Read reads what %s answered.", of.stem)
	out.line("func (*%s) Read(raw any) (*%sReply, error) {", of.name, of.name)
	out.line("items, reply := read(raw), &%sReply{}", of.name)
	out.line("reply.Word = items.text()")
	out.line("switch reply.Word {")
	for _, each := range of.operation.Replies {
		out.line("case %s:", quoted(each.Word))
		of.writeShape(each, isRefusal(each.Word))
	}
	if len(of.operation.Needs) > 0 {
		out.line(`case "need":`)
		out.line("reply.Kind = items.text()")
		out.line("switch reply.Kind {")
		for _, each := range of.operation.Needs {
			out.line("case %s:", quoted(each.Kind))
			of.writeShape(reply{Word: "need", Fields: each.Fields, Rest: each.Rest}, false)
		}
		out.line("default:")
		out.line("items.isBroken = true")
		out.line("}")
	}
	out.line("default:")
	out.line("items.isBroken = true")
	out.line("}")
	out.line("return reply, items.end(%s)", quoted(of.stem))
	out.line("}")
}

func (of written) writeShape(shape reply, isRefusal bool) {
	out, counted := of.out, of.counted(shape)
	into := "reply."
	if isRefusal {
		into = "reply.Outcome."
	}
	for _, each := range shape.Fields {
		if counted[each.Name] {
			out.line("count%s := items.integer()", goName(each.Name))
		} else {
			out.line("%s%s = items.%s()", into, goName(each.Name), reader(each))
		}
	}
	for _, each := range shape.Optional {
		out.line("if items.left() > 0 {")
		out.line("%s%s = items.%s()", into, goName(each.Name), reader(each))
		out.line("}")
	}
	for _, each := range shape.Rest {
		list := listOf(each)
		if list.times != "" {
			out.line("for ; count%s > 0 && items.left() > 0; count%s-- {", goName(list.times), goName(list.times))
		} else {
			out.line("for items.left() > 0 {")
		}
		if len(list.fields) == 1 {
			out.line("reply.%s = append(reply.%s, items.%s())", list.name, list.name, reader(list.fields[0]))
		} else {
			out.line("reply.%s = append(reply.%s, %sRow{", list.name, list.name, of.name)
			for _, field := range list.fields {
				out.line("%s: items.%s(),", goName(field.Name), reader(field))
			}
			out.line("})")
		}
		out.line("}")
		if list.times != "" {
			out.line("items.isBroken = items.isBroken || count%s != 0", goName(list.times))
		}
	}
}

func (of written) writeNeeds() {
	out := of.out
	if of.operation.Moved == "follow" {
		out.line("\n// Follow has the call go on under the id that its session has now.")
		out.line("func (call *%s) Follow(id string) { call.ID = id }", of.name)
	}
	if len(of.operation.Needs) == 0 {
		return
	}
	out.line("\n// Supply sets what a need names, and returns what else it asks for.")
	out.line("func (call *%s) Supply(reply *%sReply) Want {", of.name, of.name)
	out.line("switch reply.Kind {")
	for _, each := range of.operation.Needs {
		out.line("case %s:", quoted(each.Kind))
		for _, name := range each.Set {
			out.line("call.%s = reply.%s", goName(name), goName(name))
		}
		switch {
		case each.Declare != "":
			out.line("return Want{Declare: true, IDs: reply.%s}", listOf(each.Rest[0]).name)
		case each.Run != nil:
			out.line("return Want{Run: %s, IDs: %s, Arguments: map[string]string{", quoted(each.Run.Operation), of.idsOf(each))
			for _, name := range sorted(each.Run.Arguments) {
				out.line("%s: call.%s,", quoted(name), goName(each.Run.Arguments[name]))
			}
			out.line("}}")
		}
	}
	out.line("}")
	out.line("return Want{}")
	out.line("}")
}

// idsOf are the ids of a need that asks for another operation on them.
func (of written) idsOf(each need) string {
	for _, field := range each.Fields {
		if field.Name == each.Run.IDs {
			return "[]string{reply." + goName(field.Name) + "}"
		}
	}
	return "reply." + listOf(each.Rest[0]).name
}

// headed are the arguments of a group that a record tells.
var headed = map[string]bool{"id": true, "user": true, "connection": true, "node": true, "expires_at_ms": true}

// writeDeclare writes what names the sessions of a group, where their records tell all that it takes.
func (of written) writeDeclare() {
	out, group := of.out, of.operation.Group
	if group == nil {
		return
	}
	for _, each := range group.Arguments {
		// Where a group has ids alone nothing is read of its sessions.
		if !headed[each.Name] || len(group.Arguments) == 1 {
			return
		}
	}
	out.line("\n// Declare names the sessions of the group, in the place of those before.")
	out.line("func (call *%s) Declare(heads []Head) {", of.name)
	members := plural(goName(group.Name))
	out.line("call.%s = nil", members)
	out.line("for _, head := range heads {")
	out.line("call.%s = append(call.%s, %s%s{", members, members, of.name, goName(group.Name))
	for _, each := range group.Arguments {
		out.line("%s: head.%s,", goName(each.Name), goName(each.Name))
	}
	out.line("})")
	out.line("}")
	out.line("}")
}
