// The words of the page, in English and Chinese.

const EN = {
  title: 'Sichuan mahjong', subtitle: 'Xuezhan daodi: the hand goes on until one player is left',
  name: 'Your name', enter: 'Play', quick: 'Quick match', quickHint: 'With anyone. Bots fill the free seats.',
  friends: 'Table for friends', friendsHint: 'You get a code to share.', join: 'Join a table', code: 'Code', joinButton: 'Join', watch: 'Watch',
  history: 'Past hands', noHistory: 'No hand is finished yet.', replay: 'Replay', back: 'Back', balance: 'Balance', rename: 'Change name',
  players: 'Players', suits: 'Suits', base: 'Base', cap: 'Cap', hands: 'Hands', fan: 'fan', more: 'More rules', create: 'Open the table',
  selfDraw: 'Self-draw', selfDraw0: '+1 base', selfDraw1: '+1 fan', selfDraw2: 'nothing more',
  exchangeAny: 'Exchange tiles of any suits', terminalsTwo: 'Terminals count 2 fan', noFirstHand: 'No heavenly and earthly hand',
  noConcealed: 'No fan for a concealed hand', noSimples: 'No fan for no terminals', flowerByDiscarder: 'A kong flower is paid by the discarder',
  lastFourMustWin: 'The last four tiles must win', hideConcealedKongs: 'Concealed kongs are hidden',
  hand: 'Hand', of: 'of', wall: 'tiles', waiting: 'Waiting for players', invite: 'Code', copy: 'Copy', copied: 'Copied',
  ready: 'Ready', notReady: 'Not ready', fill: 'Play with bots', leave: 'Leave', free: 'Free seat', bot: 'bot', away: 'away', auto: 'Auto-play',
  autoOff: 'Play myself', dissolve: 'Dissolve', dissolveAsk: 'wants to dissolve the room.', agree: 'Agree', refuse: 'Refuse', agreed: 'You agreed.',
  exchange: 'Choose three tiles to give away', exchangeOne: 'Choose three tiles of one suit to give away', give: 'Give', given: 'Waiting for the others …',
  missing: 'Choose the suit that you will not play', suit0: 'Characters', suit1: 'Bamboos', suit2: 'Dots',
  shiftNext: 'The tiles went to the next player', shiftOpposite: 'The tiles went to the opposite player', shiftPrevious: 'The tiles went to the previous player',
  win: 'Win', kong: 'Kong', pong: 'Pong', pass: 'Pass', yourTurn: 'Your turn', tapAgain: 'Tap the tile again to discard it', waits: 'Ready for',
  winner: 'won', pig: 'Flower pig', ready2: 'Ready', notReady2: 'Not ready', next: 'Next hand', final: 'Final result', settlement: 'Result of hand',
  payments: 'Payments', seed: 'Seed', close: 'Close', selfDrawn: 'self-draw', discardWin: 'on a discard', total: 'Total', nobody: 'Nobody won this hand.',
  reconnecting: 'The connection is lost. Reconnecting …', spectating: 'You are watching', sound: 'Sound', language: '中文', dealer: 'Dealer', waitNext: 'Waiting for the others …',
  viewTable: 'Table', viewResult: 'Show the result', you: 'you',
  reasons: ['Win', 'Exposed kong', 'Added kong', 'Concealed kong', 'Flower pig', 'Not ready', 'Kong money returned', 'Kong money transferred'],
  patterns: ['Pongs', 'Pure suit', 'Seven pairs', 'Dragon seven pairs', 'Golden single wait', 'Terminals', '258', 'Root', 'Concealed hand', 'No terminals', 'Kong flower', 'Kong shot', 'Robbed kong', 'Last draw', 'Last discard', 'Heavenly hand', 'Earthly hand', 'Self-draw'],
  plain: 'Plain', melds: ['Pong', 'Exposed kong', 'Added kong', 'Concealed kong'],
  ends: { dissolved: 'The room was dissolved.', finished: 'All hands are played.', 'not ready': 'You were not ready in time.', 'taken over': 'You play in another window.', empty: 'The table is closed.' },
  errors: { CODE: 'There is no table with this code.', 'ROOM-FULL': 'The table is full.', 'ROOM-LOCKED': 'The hand has begun. You can watch.', 'ROOM-JOINED': 'You have a seat at another table.', LATE: 'Too late.' },
};

const ZH = {
  title: '四川麻将', subtitle: '血战到底：打到只剩一家',
  name: '你的名字', enter: '进入', quick: '快速开始', quickHint: '与任何人同桌，空位由机器人补上。',
  friends: '好友房', friendsHint: '开房后把房号发给好友。', join: '加入房间', code: '房号', joinButton: '加入', watch: '观战',
  history: '战绩', noHistory: '还没有打完的牌局。', replay: '回放', back: '返回', balance: '积分', rename: '改名',
  players: '人数', suits: '花色', base: '底分', cap: '封顶', hands: '局数', fan: '番', more: '更多规则', create: '开房',
  selfDraw: '自摸', selfDraw0: '加底', selfDraw1: '加番', selfDraw2: '不加',
  exchangeAny: '换三张不限花色', terminalsTwo: '幺九算 2 番', noFirstHand: '不计天胡地胡',
  noConcealed: '不计门清', noSimples: '不计中张', flowerByDiscarder: '点杠花由点杠者包',
  lastFourMustWin: '最后四张必胡', hideConcealedKongs: '暗杠不亮',
  hand: '第', of: '/', wall: '张', waiting: '等待玩家', invite: '房号', copy: '复制', copied: '已复制',
  ready: '准备', notReady: '未准备', fill: '机器人补位', leave: '离开', free: '空位', bot: '机器人', away: '离线', auto: '托管',
  autoOff: '取消托管', dissolve: '解散', dissolveAsk: '申请解散房间。', agree: '同意', refuse: '拒绝', agreed: '你已同意。',
  exchange: '选三张牌换出', exchangeOne: '选三张同花色的牌换出', give: '换牌', given: '等待其他玩家……',
  missing: '请定缺', suit0: '万', suit1: '条', suit2: '筒',
  shiftNext: '换给下家', shiftOpposite: '换给对家', shiftPrevious: '换给上家',
  win: '胡', kong: '杠', pong: '碰', pass: '过', yourTurn: '轮到你', tapAgain: '再点一次打出', waits: '听',
  winner: '胡', pig: '花猪', ready2: '有叫', notReady2: '无叫', next: '下一局', final: '总成绩', settlement: '本局结算 第',
  payments: '收支明细', seed: '随机种子', close: '关闭', selfDrawn: '自摸', discardWin: '点炮', total: '合计', nobody: '本局流局，无人胡牌。',
  reconnecting: '连接中断，正在重连……', spectating: '观战中', sound: '声音', language: 'English', dealer: '庄', waitNext: '等待其他玩家……',
  viewTable: '看牌桌', viewResult: '看结算', you: '你',
  reasons: ['胡牌', '直杠', '补杠', '暗杠', '查花猪', '查大叫', '退税', '呼叫转移'],
  patterns: ['对对胡', '清一色', '七对', '龙七对', '金钩钓', '幺九', '将', '根', '门清', '中张', '杠上花', '杠上炮', '抢杠胡', '海底捞月', '海底炮', '天胡', '地胡', '自摸'],
  plain: '平胡', melds: ['碰', '直杠', '补杠', '暗杠'],
  ends: { dissolved: '房间已解散。', finished: '全部牌局结束。', 'not ready': '你没有及时准备。', 'taken over': '你在另一个窗口继续。', empty: '房间已关闭。' },
  errors: { CODE: '没有这个房号。', 'ROOM-FULL': '房间已满。', 'ROOM-LOCKED': '牌局已开始，可以观战。', 'ROOM-JOINED': '你在另一张桌上有座位。', LATE: '太迟了。' },
};

let language = localStorage.mahjongLanguage ?? (navigator.language.startsWith('zh') ? 'zh' : 'en');

/** The words of the language in use. */
export const words = () => (language === 'zh' ? ZH : EN);

export const languageCode = () => (language === 'zh' ? 'zh-CN' : 'en');

export function switchLanguage() {
  language = localStorage.mahjongLanguage = language === 'zh' ? 'en' : 'zh';
}

/** The name of a tile, for screen readers. */
export const tileName = (t) => `${(t % 9) + 1} ${words()[`suit${Math.floor(t / 9)}`]}`;

const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Makes text safe to stand in HTML. */
export const escape = (text) => String(text).replace(/[&<>"']/g, (c) => ENTITIES[c]);
