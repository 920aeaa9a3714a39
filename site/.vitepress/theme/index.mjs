import Theme from 'vitepress/theme-without-fonts';
import { h } from 'vue';
import Backward from './Backward.vue';
import './style.css';

export default {
  extends: Theme,
  Layout: () => h(Theme.Layout, null, { 'home-hero-image': () => h(Backward) }),
};
