// Code generated from testdata/api.txt by go test -update. DO NOT EDIT.

package compat

import (
	nano "github.com/lonng/nano"
	cluster "github.com/lonng/nano/cluster"
	clusterpb "github.com/lonng/nano/cluster/clusterpb"
	component "github.com/lonng/nano/component"
	message "github.com/lonng/nano/internal/message"
	mock "github.com/lonng/nano/mock"
	pipeline "github.com/lonng/nano/pipeline"
	scheduler "github.com/lonng/nano/scheduler"
	serialize "github.com/lonng/nano/serialize"
	json "github.com/lonng/nano/serialize/json"
	protobuf "github.com/lonng/nano/serialize/protobuf"
	session "github.com/lonng/nano/session"
	grpc "google.golang.org/grpc"
	net "net"
	http "net/http"
	time "time"
)

var _ = func(v *clusterpb.MemberInfo) *string { return &v.Label }
var _ = func(v *clusterpb.MemberInfo) *string { return &v.ServiceAddr }
var _ = func(v *clusterpb.MemberInfo) *[]string { return &v.Services }

type _ = clusterpb.MemberInfo

var _ func(*cluster.Member) *clusterpb.MemberInfo = (*cluster.Member).MemberInfo
var _ func(*cluster.Member) string = (*cluster.Member).String

type _ = cluster.CustomerRemoteServiceRoute

var _ = func(v cluster.CustomerRemoteServiceRoute) func(string, *session.Session, []*clusterpb.MemberInfo) *clusterpb.MemberInfo {
	return v
}

type _ = cluster.Member

var _ *error = &cluster.ErrBrokenPipe
var _ *error = &cluster.ErrBufferExceed
var _ *error = &cluster.ErrCloseClosedSession
var _ *error = &cluster.ErrInvalidRegisterReq
var _ *error = &cluster.ErrSessionOnNotify
var _ = func(v *component.CompWithOptions) *component.Component { return &v.Comp }
var _ = func(v *component.CompWithOptions) *[]component.Option { return &v.Opts }
var _ func(component.Component, []component.Option) *component.Service = component.NewService
var _ func(string) component.Option = component.WithName
var _ func(func(string) string) component.Option = component.WithNameFunc
var _ func(string) component.Option = component.WithSchedulerName
var _ func(component.Component) = component.Component.AfterInit
var _ func(component.Component) = component.Component.BeforeShutdown
var _ func(component.Component) = component.Component.Init
var _ func(component.Component) = component.Component.Shutdown
var _ = func(v *component.Base) { v.AfterInit() }
var _ = func(v *component.Base) { v.BeforeShutdown() }
var _ = func(v *component.Base) { v.Init() }
var _ = func(v *component.Base) { v.Shutdown() }
var _ func(*component.Components) []component.CompWithOptions = (*component.Components).List
var _ = func(v *component.Components, a0 component.Component, a1 ...component.Option) { v.Register(a0, a1...) }

type _ = component.Base
type _ = component.CompWithOptions
type _ = component.Component
type _ = component.Components
type _ = component.Handler
type _ = component.Option
type _ = component.Service

var _ func() *mock.NetworkEntity = mock.NewNetworkEntity
var _ func(*mock.NetAddr) string = (*mock.NetAddr).Network
var _ func(*mock.NetAddr) string = (*mock.NetAddr).String
var _ func(*mock.NetworkEntity) error = (*mock.NetworkEntity).Close
var _ func(*mock.NetworkEntity, uint64) any = (*mock.NetworkEntity).FindResponseByMID
var _ func(*mock.NetworkEntity, string) any = (*mock.NetworkEntity).FindResponseByRoute
var _ func(*mock.NetworkEntity) uint64 = (*mock.NetworkEntity).LastMid
var _ func(*mock.NetworkEntity) any = (*mock.NetworkEntity).LastResponse
var _ func(*mock.NetworkEntity, string, any) error = (*mock.NetworkEntity).Push
var _ func(*mock.NetworkEntity, string, any) error = (*mock.NetworkEntity).RPC
var _ func(*mock.NetworkEntity) net.Addr = (*mock.NetworkEntity).RemoteAddr
var _ func(*mock.NetworkEntity, any) error = (*mock.NetworkEntity).Response
var _ func(*mock.NetworkEntity, uint64, any) error = (*mock.NetworkEntity).ResponseMid

type _ = mock.NetAddr
type _ = mock.NetworkEntity

var _ = func(v *pipeline.Message) *[]byte { return &v.Data }
var _ = func(v *pipeline.Message) *uint64 { return &v.ID }
var _ = func(v *pipeline.Message) *string { return &v.Route }
var _ = func(v *pipeline.Message) any { return &v.Type }
var _ func() pipeline.Pipeline = pipeline.New
var _ func(pipeline.Channel, *session.Session, *message.Message) error = pipeline.Channel.Process
var _ func(pipeline.Channel, pipeline.Func) = pipeline.Channel.PushBack
var _ func(pipeline.Channel, pipeline.Func) = pipeline.Channel.PushFront
var _ func(pipeline.Pipeline) pipeline.Channel = pipeline.Pipeline.Inbound
var _ func(pipeline.Pipeline) pipeline.Channel = pipeline.Pipeline.Outbound
var _ func(*pipeline.Message) ([]byte, error) = (*pipeline.Message).Encode
var _ func(*pipeline.Message) string = (*pipeline.Message).String

type _ = pipeline.Channel
type _ = pipeline.Func

var _ = func(v pipeline.Func) func(*session.Session, *message.Message) error { return v }

type _ = pipeline.Message
type _ = pipeline.Pipeline

var _ = func() { scheduler.Close() }
var _ func(time.Duration, scheduler.TimerFunc) *scheduler.Timer = scheduler.NewAfterTimer
var _ func(scheduler.TimerCondition, scheduler.TimerFunc) *scheduler.Timer = scheduler.NewCondTimer
var _ func(time.Duration, int, scheduler.TimerFunc) *scheduler.Timer = scheduler.NewCountTimer
var _ func(time.Duration, scheduler.TimerFunc) *scheduler.Timer = scheduler.NewTimer
var _ = func(a0 scheduler.Task) { scheduler.PushTask(a0) }
var _ = func() { scheduler.Sched() }
var _ func(scheduler.LocalScheduler, scheduler.Task) = scheduler.LocalScheduler.Schedule
var _ func(scheduler.TimerCondition, time.Time) bool = scheduler.TimerCondition.Check
var _ func(*scheduler.Timer) int64 = (*scheduler.Timer).ID
var _ = func(v *scheduler.Timer) { v.Stop() }

type _ = scheduler.LocalScheduler
type _ = scheduler.Task

var _ = func(v scheduler.Task) func() { return v }

type _ = scheduler.Timer
type _ = scheduler.TimerCondition
type _ = scheduler.TimerFunc

var _ = func(v scheduler.TimerFunc) func() { return v }
var _ func() *json.Serializer = json.NewSerializer
var _ func(*json.Serializer, any) ([]byte, error) = (*json.Serializer).Marshal
var _ func(*json.Serializer, []byte, any) error = (*json.Serializer).Unmarshal

type _ = json.Serializer

var _ func() *protobuf.Serializer = protobuf.NewSerializer
var _ func(*protobuf.Serializer, any) ([]byte, error) = (*protobuf.Serializer).Marshal
var _ func(*protobuf.Serializer, []byte, any) error = (*protobuf.Serializer).Unmarshal

type _ = protobuf.Serializer

var _ *error = &protobuf.ErrWrongValueType
var _ func(serialize.Marshaler, any) ([]byte, error) = serialize.Marshaler.Marshal
var _ func(serialize.Serializer, any) ([]byte, error) = serialize.Serializer.Marshal
var _ func(serialize.Serializer, []byte, any) error = serialize.Serializer.Unmarshal
var _ func(serialize.Unmarshaler, []byte, any) error = serialize.Unmarshaler.Unmarshal

type _ = serialize.Marshaler
type _ = serialize.Serializer
type _ = serialize.Unmarshaler

var _ func(session.NetworkEntity) *session.Session = session.New
var _ func(session.NetworkEntity) error = session.NetworkEntity.Close
var _ func(session.NetworkEntity) uint64 = session.NetworkEntity.LastMid
var _ func(session.NetworkEntity, string, any) error = session.NetworkEntity.Push
var _ func(session.NetworkEntity, string, any) error = session.NetworkEntity.RPC
var _ func(session.NetworkEntity) net.Addr = session.NetworkEntity.RemoteAddr
var _ func(session.NetworkEntity, any) error = session.NetworkEntity.Response
var _ func(session.NetworkEntity, uint64, any) error = session.NetworkEntity.ResponseMid
var _ = func(v *session.Router, a0 string, a1 string) { v.Bind(a0, a1) }
var _ = func(v *session.Router, a0 string) { v.Delete(a0) }
var _ func(*session.Router, string) (string, bool) = (*session.Router).Find
var _ func(*session.Session, int64) error = (*session.Session).Bind
var _ = func(v *session.Session) { v.Clear() }
var _ = func(v *session.Session) { v.Close() }
var _ func(*session.Session, string) float32 = (*session.Session).Float32
var _ func(*session.Session, string) float64 = (*session.Session).Float64
var _ func(*session.Session, string) bool = (*session.Session).HasKey
var _ func(*session.Session) int64 = (*session.Session).ID
var _ func(*session.Session, string) int = (*session.Session).Int
var _ func(*session.Session, string) int16 = (*session.Session).Int16
var _ func(*session.Session, string) int32 = (*session.Session).Int32
var _ func(*session.Session, string) int64 = (*session.Session).Int64
var _ func(*session.Session, string) int8 = (*session.Session).Int8
var _ func(*session.Session) uint64 = (*session.Session).LastMid
var _ func(*session.Session) session.NetworkEntity = (*session.Session).NetworkEntity
var _ func(*session.Session, string, any) error = (*session.Session).Push
var _ func(*session.Session, string, any) error = (*session.Session).RPC
var _ func(*session.Session) net.Addr = (*session.Session).RemoteAddr
var _ = func(v *session.Session, a0 string) { v.Remove(a0) }
var _ func(*session.Session, any) error = (*session.Session).Response
var _ func(*session.Session, uint64, any) error = (*session.Session).ResponseMID
var _ = func(v *session.Session, a0 map[string]any) { v.Restore(a0) }
var _ func(*session.Session) *session.Router = (*session.Session).Router
var _ = func(v *session.Session, a0 string, a1 any) { v.Set(a0, a1) }
var _ func(*session.Session) map[string]any = (*session.Session).State
var _ func(*session.Session, string) string = (*session.Session).String
var _ func(*session.Session) int64 = (*session.Session).UID
var _ func(*session.Session, string) uint = (*session.Session).Uint
var _ func(*session.Session, string) uint16 = (*session.Session).Uint16
var _ func(*session.Session, string) uint32 = (*session.Session).Uint32
var _ func(*session.Session, string) uint64 = (*session.Session).Uint64
var _ func(*session.Session, string) uint8 = (*session.Session).Uint8
var _ func(*session.Session, string) any = (*session.Session).Value

type _ = session.LifetimeHandler

var _ = func(v session.LifetimeHandler) func(*session.Session) { return v }

type _ = session.NetworkEntity
type _ = session.Router
type _ = session.Session

var _ *error = &session.ErrIllegalUID
var _ = &session.Lifetime
var _ = func(a0 func()) { nano.Invoke(a0) }
var _ = func(a0 string, a1 ...nano.Option) { nano.Listen(a0, a1...) }
var _ func(string) *nano.Group = nano.NewGroup
var _ = func() { nano.Shutdown() }
var _ func(string, ...time.Duration) nano.Option = nano.WithAdvertiseAddr
var _ func(func(*http.Request) bool) nano.Option = nano.WithCheckOriginFunc
var _ func(string) nano.Option = nano.WithClientAddr
var _ func(*component.Components) nano.Option = nano.WithComponents
var _ func(cluster.CustomerRemoteServiceRoute) nano.Option = nano.WithCustomerRemoteServiceRoute
var _ func() nano.Option = nano.WithDebugMode
var _ func(map[string]uint16) nano.Option = nano.WithDictionary
var _ func(...grpc.DialOption) nano.Option = nano.WithGrpcOptions
var _ func(func(*session.Session, []byte) error) nano.Option = nano.WithHandshakeValidator
var _ func(time.Duration) nano.Option = nano.WithHeartbeatInterval
var _ func(bool) nano.Option = nano.WithIsWebsocket
var _ func(string) nano.Option = nano.WithLabel
var _ = nano.WithLogger
var _ func() nano.Option = nano.WithMaster
var _ func(uint64) nano.Option = nano.WithNodeId
var _ func(pipeline.Pipeline) nano.Option = nano.WithPipeline
var _ func(serialize.Serializer) nano.Option = nano.WithSerializer
var _ func(string, string) nano.Option = nano.WithTSLConfig
var _ func(time.Duration) nano.Option = nano.WithTimerPrecision
var _ func(func(cluster.Member)) nano.Option = nano.WithUnregisterCallback
var _ func(string) nano.Option = nano.WithWSPath
var _ func(*nano.Group, *session.Session) error = (*nano.Group).Add
var _ func(*nano.Group, string, any) error = (*nano.Group).Broadcast
var _ func(*nano.Group) error = (*nano.Group).Close
var _ func(*nano.Group, int64) bool = (*nano.Group).Contains
var _ func(*nano.Group) int = (*nano.Group).Count
var _ func(*nano.Group, func(*session.Session) bool) (*session.Session, error) = (*nano.Group).FindMember
var _ func(*nano.Group, *session.Session) error = (*nano.Group).Leave
var _ func(*nano.Group) error = (*nano.Group).LeaveAll
var _ func(*nano.Group, int64) (*session.Session, error) = (*nano.Group).Member
var _ func(*nano.Group) []int64 = (*nano.Group).Members
var _ func(*nano.Group, string, any, nano.SessionFilter) error = (*nano.Group).Multicast

type _ = nano.Group
type _ = nano.Option
type _ = nano.SessionFilter

var _ = func(v nano.SessionFilter) func(*session.Session) bool { return v }
var _ *error = &nano.ErrCloseClosedGroup
var _ *error = &nano.ErrClosedGroup
var _ *error = &nano.ErrMemberNotFound
var _ *error = &nano.ErrSessionDuplication
var _ *string = &nano.VERSION

type i0 struct{}

var _ component.Component = i0{}

func (i0) AfterInit()      { panic(0) }
func (i0) BeforeShutdown() { panic(0) }
func (i0) Init()           { panic(0) }
func (i0) Shutdown()       { panic(0) }

type i1 struct{}

var _ pipeline.Channel = i1{}

func (i1) Process(*session.Session, *message.Message) error { panic(0) }
func (i1) PushBack(pipeline.Func)                           { panic(0) }
func (i1) PushFront(pipeline.Func)                          { panic(0) }

type i2 struct{}

var _ pipeline.Pipeline = i2{}

func (i2) Inbound() pipeline.Channel  { panic(0) }
func (i2) Outbound() pipeline.Channel { panic(0) }

type i3 struct{}

var _ scheduler.LocalScheduler = i3{}

func (i3) Schedule(scheduler.Task) { panic(0) }

type i4 struct{}

var _ scheduler.TimerCondition = i4{}

func (i4) Check(time.Time) bool { panic(0) }

type i5 struct{}

var _ serialize.Marshaler = i5{}

func (i5) Marshal(any) ([]byte, error) { panic(0) }

type i6 struct{}

var _ serialize.Serializer = i6{}

func (i6) Marshal(any) ([]byte, error) { panic(0) }
func (i6) Unmarshal([]byte, any) error { panic(0) }

type i7 struct{}

var _ serialize.Unmarshaler = i7{}

func (i7) Unmarshal([]byte, any) error { panic(0) }

type i8 struct{}

var _ session.NetworkEntity = i8{}

func (i8) Close() error                  { panic(0) }
func (i8) LastMid() uint64               { panic(0) }
func (i8) Push(string, any) error        { panic(0) }
func (i8) RPC(string, any) error         { panic(0) }
func (i8) RemoteAddr() net.Addr          { panic(0) }
func (i8) Response(any) error            { panic(0) }
func (i8) ResponseMid(uint64, any) error { panic(0) }
